"""Which code this is: version, commit, uncommitted changes, and a hash of what is imported."""

import hashlib
import json
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Timer
from typing import Any

CHECKOUT = Path(__file__).parents[2]
SNAPSHOT = "snapshot.json"  # beside a copy of the packages: `version` and `diff` of the checkout that it was copied from
COMPUTING = ("shards", "dsva")  # packages that results come from; `launch` only starts them
MAX_DIFF = 1 << 20  # bytes


def code_version() -> dict[str, Any]:
    """Return the package's version and, in a git checkout, its commit and whether files were changed since.

    The latter two are None where the package was installed without its repository.
    """
    if (CHECKOUT / SNAPSHOT).is_file():
        return dict(json.loads((CHECKOUT / SNAPSHOT).read_text())["version"])
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "dsva/__init__.py") else None
    return {"version": version("dsva"), "commit": commit, "modified": None if commit is None else bool(code_diff())}


def code_diff() -> str:
    """Return what the checkout holds beyond its commit, new Python files included, as a patch; "" where there is none.

    A patch of more than `MAX_DIFF` bytes is cut there, and says so.
    """
    if (CHECKOUT / SNAPSHOT).is_file():
        return str(json.loads((CHECKOUT / SNAPSHOT).read_text())["diff"])
    if not _git("ls-files", "dsva/__init__.py"):
        return ""
    patches, size = [], 0
    new = (_git("ls-files", "--others", "--exclude-standard", "--", "*.py") or "").splitlines()
    for arguments in (("HEAD",), *(("--no-index", "--", "/dev/null", name) for name in new)):
        if patch := _git("diff", *arguments):
            patches.append(f"{patch}\n")
            size += len(patch.encode())
        if size > MAX_DIFF:
            cut = "".join(patches).encode()[:MAX_DIFF].decode(errors="ignore")
            return f"{cut}\n(cut here: the changes are more than {MAX_DIFF} bytes)\n"
    return "".join(patches)


def code_sha256() -> str:
    """Return a hash of the Python files that results come from, by which an edit is noticed with git and without."""
    digest = hashlib.sha256()
    for package in COMPUTING:
        for file in sorted((CHECKOUT / package).rglob("*.py")):
            digest.update(f"{file.relative_to(CHECKOUT)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@cache
def running_code() -> tuple[dict[str, Any], str]:
    """Return what `code_version` and `code_sha256` say, as one entry, and `code_diff`.

    All as it was when this process first asked, at its start: what is edited later is not what it runs.
    """
    return {**code_version(), "sha256": code_sha256()}, code_diff()


def _git(*arguments: str) -> str | None:
    """Return what git says, up to a little more than `MAX_DIFF` bytes; None where it says nothing of use."""
    command = ["git", "-C", str(CHECKOUT), *arguments]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout
            late = Timer(60, process.kill)
            late.start()
            said = process.stdout.read(MAX_DIFF + 1)
            late.cancel()
            if cut := len(said) > MAX_DIFF:
                process.kill()
    except OSError:
        return None
    # `git diff --no-index` ends with 1 where files differ.
    return said.decode(errors="replace").rstrip("\n") if cut or process.returncode in (0, 1) else None
