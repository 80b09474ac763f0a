"""What runs in a job of Slurm and may be started again there, by submitit."""

import os
import signal
from typing import Any

from dsva.processes.environment import SlurmJob
from dsva.train.stopping import WARNINGS
from launch.jobs.lease import Lease
from launch.slurm.client import is_preempted
from launch.slurm.retry import retry


class Task:
    """Work that submitit starts; started again, it looks up itself how far it is."""

    def checkpoint(self) -> Any:
        """Return what submitit shall start after requeueing: the same."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415 (only submitit calls this)

        return DelayedSubmission(self)


def start_again(lease: Lease, number: int) -> None:
    """Have Slurm start the job again if signal `number` meant that, and leave by SystemExit; else return."""
    requeue = signal.getsignal(signal.SIGUSR2)  # submitit's, in a job of its own
    if callable(requeue) and (number in WARNINGS or _preempted()):
        lease.release("requeued")
        retry(lambda: requeue(signal.SIGUSR2, None))  # leaves by SystemExit where Slurm agrees
        lease.release("ended")


def _preempted() -> bool:
    """Say whether Slurm is taking this job's nodes away for another job, which it also does by SIGTERM."""
    job = SlurmJob.of(os.environ)
    return job is not None and is_preempted(job.number)
