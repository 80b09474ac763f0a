"""An all-reduce in processes of their own, which are ended when it takes too long."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

from launch.doctor.finding import Asked, Finding
from launch.doctor.gpus import seen
from launch.jobs.children import this_code
from launch.jobs.worker import START

LIMIT = 60.0
RANK = (sys.executable, "-m", "launch.doctor.rank")
MEND = "run it with NCCL_DEBUG=INFO to see where it waits; look for a firewall, and set NCCL_SOCKET_IFNAME to the right network"


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, None where it had to be killed, and what it printed."""

    code: int | None
    printed: str
    complained: str


def run_within(seconds: float, commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]]) -> list[Ended]:
    """Run commands at the same time, and kill them, and what they have started, when the time is up."""
    outputs: list[tuple[IO[bytes], IO[bytes]]] = [(TemporaryFile(), TemporaryFile()) for _ in commands]  # noqa: SIM115
    running = [
        subprocess.Popen(
            command, env=this_code(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        for command, environment, (out, err) in zip(commands, environments, outputs, strict=True)
    ]
    end = time.monotonic() + seconds
    codes: list[int | None] = []
    try:
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            codes.append(process.returncode)
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            # One that waits for a file system that is gone cannot be killed; nobody waits for it here.
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
    return [Ended(code, _text(out), _text(err)) for code, (out, err) in zip(codes, outputs, strict=True)]


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    text = file.read().decode(errors="replace").strip()
    file.close()
    return text


def all_reduce(_: Asked, limit: float = LIMIT, rank: Sequence[str] = RANK) -> Finding:
    """Let two processes of this machine reduce: on two GPUs where there are as many, else on the processor.

    Args:
        limit: seconds they have.
        rank: command of a process.
    """
    shared = {**os.environ, START: uuid.uuid4().hex, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    if len(seen()) < 2:
        shared["CUDA_VISIBLE_DEVICES"] = ""
    with TemporaryDirectory() as folder:
        command = [*rank, folder, str(limit)]
        environments = [{**shared, "RANK": number, "LOCAL_RANK": number} for number in "01"]
        ended = run_within(limit, [command, command], environments)
    return judge("all-reduce", ended, limit)


def judge(check: str, ended: Sequence[Ended], limit: float) -> Finding:
    """Say what the processes that took part tell."""
    silent = [one for one in ended if not one.printed]
    if any(one.code is None for one in silent):
        return Finding(check, "FAIL", f"no end within {limit:.0f} s", MEND)
    if silent:
        said = (silent[0].complained.splitlines() or [f"exit code {silent[0].code}"])[-1]
        return Finding(check, "FAIL", said, MEND)
    told: dict[str, Any] = json.loads(ended[0].printed.splitlines()[-1])
    if not told["right"]:
        return Finding(check, "FAIL", "the sum is wrong", "set NCCL_P2P_DISABLE=1 for every run, and update the driver")
    rate = told["mebibytes"] / told["seconds"]
    return Finding(check, "OK", f"{told['ranks']} processes through {told['backend']}: {rate:,.0f} MiB/s")
