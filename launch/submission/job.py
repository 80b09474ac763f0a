"""The one thing that is sent to a cluster: train the run in a folder, as its job folder says.

Nothing about resuming is in the pickle: every start looks up the newest complete checkpoint, whatever ended the last.
"""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from dsva.files import room_for
from dsva.own_process import declare_own_process, imported_for_good
from dsva.run_directory import LOCK
from dsva.train.stopping import WARNINGS
from launch.jobs.folder import FAULT, MISTAKE, JobFolder
from launch.jobs.lease import HeldError, Lease
from launch.jobs.rendezvous import Worker, meet
from launch.slurm.client import release_held
from launch.slurm.retry import retry
from shards.errors import UserError

STOPPED = 128


@dataclass(frozen=True)
class Job:
    """Train, or continue, the run in the folder `run`; called by each of its processes."""

    run: Path

    def __call__(self) -> int:
        """Return 0 when the run is complete.

        Raises:
            SystemExit: 2 a mistake in what was given; 128 plus a signal's number when the run was stopped and saved; 255
                after asking Slurm to start the job again.
        """
        folder, place = JobFolder(self.run), Worker.of(os.environ)
        if folder.done():
            return 0
        with ExitStack() as stack:
            claim = None
            try:
                with room_for(folder.run):
                    if place.rank == 0:
                        claim = stack.enter_context(Lease(folder, place))
                        folder.forget_failure()
                    code = _train(folder, place)
                    if claim and code == 0:
                        folder.write("done.json", generation=claim.generation, start=place.start, scores=_scores(folder.run))
            except UserError as error:
                if not isinstance(error, HeldError):
                    folder.fail(str(error), MISTAKE)
                print(f"error: {error}", file=sys.stderr, flush=True)
                sys.exit(MISTAKE)
            except Exception as error:
                folder.fail(f"rank {place.rank} on {_node()}: {type(error).__name__}: {_first_line(error)}", FAULT)
                raise
            if claim and code:
                _stopped(folder, claim, code - STOPPED)
        if code:
            sys.exit(code)
        if place.rank == 0:
            _look_after_others(os.environ.get("SLURM_ARRAY_JOB_ID"))
        return 0

    def checkpoint(self) -> Any:
        """Return what submitit shall start after requeueing: the same."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415 (only submitit calls this)

        return DelayedSubmission(self)


def _train(folder: JobFolder, place: Worker) -> int:
    """Import torch, meet the other processes and train."""
    declare_own_process()
    with imported_for_good():
        from dsva.config import load  # noqa: PLC0415 (slow; a job that is complete needs none of it)
        from dsva.train.run import run  # noqa: PLC0415

    config = load(folder.config)
    if place.rank == 0:
        _await_lock(folder.run)
    store = meet(place, folder.path, os.environ)
    code = run(config, Console(highlight=False, soft_wrap=True))
    del store
    return code


def _look_after_others(array: str | None) -> None:
    """Let the other tasks of a finished task's array go, should Slurm hold one."""
    try:
        if array and (held := release_held({array})):
            print(f"{held} tasks of job array {array} were held because a node had refused them, and are released", flush=True)
    except UserError as error:
        print(error, file=sys.stderr, flush=True)


def _scores(run: Path) -> dict[str, list[float | None]]:
    """Return ZSL accuracy and GZSL's harmonic mean of each head, so that a look at many runs need not read all results."""
    from dsva.evaluation.results import Results  # noqa: PLC0415
    from dsva.run_directory import RESULTS  # noqa: PLC0415

    heads = Results.read(run / RESULTS).heads
    return {name: [head.zsl, head.gzsl.harmonic if head.gzsl else None] for name, head in heads.items()}


def _await_lock(run: Path, seconds: float = 60) -> None:
    """Wait for a process of an earlier start that cannot be killed at once, on a node that hangs say."""
    end = time.monotonic() + seconds
    with (run / LOCK).open("a") as lock:
        while time.monotonic() < end:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.5)
    raise TimeoutError(f"a process of an earlier start still holds {run}")


def _stopped(folder: JobFolder, claim: Lease, number: int) -> None:
    """On rank 0, after all have saved: have Slurm start the job again if that is what the signal meant, else note the stop."""
    start_again(claim, number)
    folder.fail(f"stopped by {signal.Signals(number).name} and saved at step {folder.step()}", STOPPED + number)


def start_again(claim: Lease, number: int) -> None:
    """Have Slurm start the job again if signal `number` meant that, and leave by SystemExit; else return."""
    requeue = signal.getsignal(signal.SIGUSR2)
    if callable(requeue) and (number in WARNINGS or preempted()):
        claim.release("requeued")
        retry(lambda: requeue(signal.SIGUSR2, None))  # leaves by SystemExit where Slurm agrees
        claim.release("ended")


def preempted() -> bool:
    """Say whether Slurm is taking this job's nodes away for another job, which it also does by SIGTERM."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    try:
        shown = subprocess.run(
            ["scontrol", "-o", "show", "job", job], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.search(r"PreemptTime=(\S+)", shown)
    return found is not None and found[1] not in ("None", "Unknown")


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME", socket.gethostname())


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


if __name__ == "__main__":
    sys.exit(Job(Path(sys.argv[1]))())
