"""Starts a benchmark's own processes as torchrun would, and reads what rank 0 found."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from typing import Any


class Together:
    """Processes that run `python -m MODULE --rank ARGUMENTS run.dir=...`, one thread each; rank 0's last line is a JSON object."""

    def __init__(self, module: str, processes: int, arguments: list[str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", module, "--rank", *arguments, f"run.dir={self._folder.name}/run"]
        group = {"WORLD_SIZE": f"{processes}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "OMP_NUM_THREADS": "1"}
        self._ranks = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **group, "RANK": r, "LOCAL_RANK": r})
            for r in map(str, range(processes))
        ]

    def answer(self) -> dict[str, Any]:
        """Wait for all; return rank 0's answer, or end the program if one of them failed."""
        answers = [rank.communicate()[0] for rank in self._ranks]
        self._folder.cleanup()
        if any(rank.returncode for rank in self._ranks):
            sys.exit(f"failed: {self._ranks[0].args!r}")
        found: dict[str, Any] = json.loads(answers[0].splitlines()[-1])
        return found
