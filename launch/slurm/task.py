"""What runs in a job of Slurm and may be started again there, by submitit."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dsva.exit_codes import FAULT, MISTAKE
from dsva.processes.environment import SlurmJob
from dsva.train.stopping import WARNINGS
from launch.jobs.folder import JobFolder
from launch.jobs.lease import HeldError, Lease
from launch.slurm.client import is_preempted
from launch.slurm.retry import retry
from shards.errors import UserError

log = logging.getLogger(__name__)


class Task:
    """Work that submitit starts; started again, it looks up itself how far it is."""

    def checkpoint(self) -> Any:
        """Return what submitit shall start after requeueing: the same."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415 (only submitit calls this)

        return DelayedSubmission(self)


@contextmanager
def failures_noted(folder: JobFolder, described: Callable[[Exception], str]) -> Iterator[None]:
    """Note in the job folder why the work in the block failed, unless another process is at work, whose notes those are.

    Args:
        folder: of the job.
        described: gives the words for a fault of ours.

    Raises:
        SystemExit: 2 where the work met a mistake in what was given; whatever else it raises is raised on.
    """
    try:
        yield
    except UserError as error:
        if not isinstance(error, HeldError):
            folder.fail(str(error), MISTAKE)
        log.error(str(error))
        sys.exit(MISTAKE)
    except Exception as error:
        folder.fail(described(error), FAULT)
        raise


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
