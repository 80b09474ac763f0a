"""Starts the command line many times for the price of one: a process that has imported torch and has no threads, and forks.

What runs is the real command line in a real process, with the signals, exit codes and deaths of one; only the
seconds that Python takes to import torch are saved. Run as a program, this file is that process: it reads requests
from stdin, one JSON object a line, and answers each with a line.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.programs import environment, helper

LIMIT = 100  # seconds that no command of the tests needs, but a command that hangs reaches


@dataclass
class Command:
    """A command that was started.

    Attributes:
        pid: of its process.
        file: that its stdout and stderr go to.
    """

    server: "ForkServer"
    pid: int
    file: Path

    @property
    def output(self) -> str:
        return self.file.read_text()

    @property
    def running(self) -> bool:
        """Whether it has not ended; one that has is a zombie until it is waited for."""
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"

    def until(self, reached: Callable[[], bool]) -> None:
        """Return when something has become true while it ran."""
        while not reached():
            assert self.running, self.output
            time.sleep(0.002)

    def pause(self, seconds: float) -> None:
        """Let it run on for so long, or until it ends."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.running:
            time.sleep(0.001)

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the exit code; minus the signal's number if it died of one."""
        return int(self.server.ask({"wait": self.pid}))


class ForkServer:
    """The side of the tests."""

    def __init__(self, folder: Path, program: str = "fork_server") -> None:
        self._process = subprocess.Popen(
            helper(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment() | {"COLUMNS": "200"}
        )
        self._folder, self._started = folder, 0

    def start(self, *arguments: object, **environment: object) -> Command:
        """Start `dsva ARGUMENTS` with these additions to the environment."""
        self._started += 1
        file = self._folder / f"{self._started}.txt"
        file.touch()
        request = {"start": [str(a) for a in arguments], "env": {k: str(v) for k, v in environment.items()}, "out": str(file)}
        return Command(self, int(self.ask(request)), file)

    def run(self, *arguments: object, **environment: object) -> tuple[int, str]:
        """Run `dsva ARGUMENTS`; return its exit code and what it printed."""
        command = self.start(*arguments, **environment)
        return command.wait(), command.output

    def ask(self, request: Mapping[str, Any]) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], LIMIT)[0]:
            raise TimeoutError(f"no answer within {LIMIT} s to {request}")
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the server; what it has started and nobody waited for is killed."""
        self._process.communicate()


def serve() -> None:
    """Answer {"start": [...], "env": {...}, "out": FILE} with a pid, and {"wait": pid} with its exit code."""
    # What is imported here need not be imported by every child.
    # ruff: noqa: F401
    import dsva.evaluation.plots
    import dsva.inference.trained_run
    import dsva.report.build
    import dsva.train.run
    import launch.cli.main

    running = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            running.discard(request["wait"])
        else:
            answer = os.fork() or _child(request["start"], request["env"], Path(request["out"]))
            running.add(answer)
        print(answer, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _child(arguments: Sequence[str], environment: Mapping[str, str], out: Path) -> int:
    """Become the command."""
    from launch.cli.main import main

    with out.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(environment)
    sys.argv = ["dsva", *arguments]
    try:
        main()
        sys.exit(0)
    except SystemExit as end:
        # As the interpreter ends a process: exit handlers run, then the code is given.
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    _finish(code)
    raise AssertionError("unreachable")


def _finish(code: int) -> None:
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
