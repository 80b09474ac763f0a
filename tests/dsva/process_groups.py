"""Runs of several real processes for the price of a few milliseconds each: they are forked from one that has imported torch.

What runs is the real command line with the environment that torchrun gives its processes. Run as a program, this file
is the process that forks: it reads requests from stdin, one JSON object a line, and answers each with a line.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 120  # seconds that no run of the tests needs, but one that hangs reaches


@dataclass
class Group:
    """The processes of one run.

    Attributes:
        pids: of the ranks.
        files: that the ranks' stdout and stderr go to.
    """

    server: "GroupServer"
    pids: list[int]
    files: list[Path]

    def output(self, rank: int = 0) -> str:
        return self.files[rank].read_text()

    def wait(self) -> list[int]:
        """Return the ranks' exit codes; minus the signal's number for one that died of it."""
        return [int(self.server.ask({"wait": pid})) for pid in self.pids]

    def succeed(self) -> str:
        """Wait for a run that ends well; return what rank 0 printed."""
        assert self.wait() == [0] * len(self.pids), "\n".join(self.output(rank) for rank in range(len(self.pids)))
        return self.output()


class GroupServer:
    """The side of the tests."""

    def __init__(self, folder: Path) -> None:
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **one_thread}
        )
        self._folder, self._started = folder, 0

    def start(self, world_size: int, *arguments: object) -> Group:
        """Start `dsva ARGUMENTS` in so many processes."""
        self._started += 1
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        everyones = {"WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if world_size > 1 else {}
        pids, files = [], [self._folder / f"{self._started}.{rank}.txt" for rank in range(world_size)]
        for rank, file in enumerate(files):
            own = {"RANK": rank, "LOCAL_RANK": rank} if world_size > 1 else {}
            environment = {name: str(value) for name, value in {**everyones, **own}.items()}
            pids.append(int(self.ask({"start": [str(a) for a in arguments], "env": environment, "out": str(file)})))
        return Group(self, pids, files)

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
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed  # noqa: F401 (what is imported here need not be imported by every child)

    import launch.cli  # noqa: F401

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
    from launch.cli import main

    with out.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(environment)
    sys.argv = ["dsva", *arguments]
    code: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve()
