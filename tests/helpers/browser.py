"""A headless Chromium that loads a page from disk, driven through its debugging pipe: no library, no port."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run")

# The smallest contrast of any text with its ground, as WCAG 2.1 computes it.
CONTRAST = """
(() => {
  const luminance = colour => { const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(value => value / 255)
    .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = element => { for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor; if (!/, 0\\)$/.test(colour))
    return colour; } return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll("h1, p, a, td, th, dt, dd, figcaption, .verdict, svg text")].map(element => {
    const style = getComputedStyle(element), ink = element.ownerSVGElement ? style.fill : style.color;
    const [low, high] = [luminance(ink), luminance(behind(element.ownerSVGElement || element))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05); }).reduce((a, b) => Math.min(a, b));
})()
"""


def find_browser() -> str | None:
    """Path of an installed Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. Everything that the page complains of is gathered in `complaints`."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = os.fdopen(commands, "wb", buffering=0), os.fdopen(answers, "rb")
        self._number, self._session, self._met = 0, "", set[str]()
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Carry out a command of the DevTools protocol and return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        self._commands.write(json.dumps({"id": self._number, "method": method, "params": parameters, **session}).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])

    def _read(self) -> dict[str, Any]:
        letters = bytearray()
        while (letter := self._answers.read(1)) != b"\0":
            assert letter, "the browser has gone"
            letters += letter
        message: dict[str, Any] = json.loads(letters)
        event, about = message.get("method", ""), message.get("params", {})
        self._met.add(event)
        if event in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(about))
        if event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(about))
        if event == "Network.requestWillBeSent" and not about["request"]["url"].startswith(("file:", "data:")):
            self.complaints.append(about["request"]["url"])
        return message

    def open(self, path: Path, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """Load a file and wait until it is whole."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._met.discard("Page.loadEventFired")
        self.call("Page.navigate", url=path.absolute().as_uri())
        while "Page.loadEventFired" not in self._met:
            self._read()

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, whole: bool = False) -> bytes:
        """Return what is seen, or the whole page, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])


@contextmanager
def open_browser(profile: Path) -> Iterator[Page]:
    """Start a browser with an empty profile, and end it."""
    command = find_browser()
    assert command, "no Chromium is installed"
    theirs, commands = os.pipe()
    answers, its = os.pipe()
    # It reads commands from descriptor 3 and answers on 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{its}', "bash"]
    arguments = [command, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    with subprocess.Popen(
        [*shell, *arguments], pass_fds=(theirs, its), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as browser:
        os.close(theirs)
        os.close(its)
        try:
            page = Page(commands, answers)
            yield page
            page.call("Browser.close")
        finally:
            try:
                browser.wait(timeout=20)
            except subprocess.TimeoutExpired:
                browser.kill()
