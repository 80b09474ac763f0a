"""The processes of a run on this machine, in the foreground, with their output as it comes. Needs no Slurm."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import FrameType

from dsva.exit_codes import DONE, of_child
from dsva.train.stopping import handle, restore
from launch import voice
from launch.jobs.children import this_code
from launch.jobs.worker import START

GRACE = 20.0  # seconds that processes have to end after one of them has failed


def run_here(run: Path, processes: int) -> int:
    """Run the job in the run directory `run`; return 0, or the first exit code that is another.

    `dsva.train.stopping.SIGNALS` are handed on to all processes, which save and leave.
    """
    shared = {**this_code(os.environ), START: uuid.uuid4().hex, "WORLD_SIZE": str(processes), voice.LOG: voice.level()}
    if processes > 1:
        shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    command = [sys.executable, "-m", "launch.submission.job", str(run)]
    # Sessions of their own: Ctrl-C on a terminal reaches this process only, which hands it on once.
    children = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, start_new_session=True)
        for rank in range(processes)
    ]

    def hand_on(number: int, _: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    before = handle(hand_on)
    try:
        return _wait(children)
    finally:
        for child in children:
            child.kill()
        restore(before)


def _wait(children: list["subprocess.Popen[bytes]"]) -> int:
    first, end = 0, float("inf")
    while any(child.poll() is None for child in children) and time.monotonic() < end:
        bad = [child.returncode for child in children if child.returncode]
        if bad and not first:
            first, end = bad[0], time.monotonic() + GRACE
        time.sleep(0.1)
    codes = [child.poll() for child in children]
    return of_child(first or next((code for code in codes if code), DONE))
