"""The one client of Slurm: all that its programs are asked and told, each by a function of its own.

Nobody else runs them, but for sbatch, which submitit runs for `launch.slurm.batch`.
"""

import logging
import os
import re
import shlex
import subprocess
from collections.abc import Collection

from shards.errors import UserError

log = logging.getLogger(__name__)

# A node that was lost and came back may refuse a job, because remains of its earlier start still run there. Slurm then
# queues the job again, but holds it until somebody lets it go.
HELD = "launch failed requeued held"
# With these a user's shell hides jobs from Slurm's commands, or has them printed otherwise.
_HABITS = ("SQUEUE_", "SACCT_", "SCANCEL_")


def answers() -> bool:
    """Return whether there is a Slurm here, and its controller answers."""
    try:
        _run("scontrol", "ping", seconds=30)
    except UserError:
        return False
    return True


def queued() -> dict[str, tuple[str, str]]:
    """Return state and reason of this user's jobs, array tasks one by one.

    Raises:
        UserError: Slurm does not answer; to take that for an empty queue would call running jobs ended.
    """
    lines = _run("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T|%r")
    return {job: (state, reason) for job, state, reason in (line.split("|", 2) for line in lines)}


def accounted(jobs: Collection[str]) -> dict[str, str]:
    """Return how jobs ended that are no longer in the queue; nothing on clusters that keep no accounts."""
    wanted = sorted({array_of(job) for job in jobs})
    if not wanted:
        return {}
    try:
        lines = _run("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(wanted)}", "--format=JobID,State")
    except UserError:
        return {}
    return dict(line.split("|", 1) for line in lines)


def is_cancelled(job: str) -> bool:
    """Return whether somebody wanted a job to end.

    Raises:
        UserError: Slurm does not answer.
    """
    return "JobState=CANCELLED" in _shown(job)


def is_preempted(job: str) -> bool:
    """Return whether Slurm is taking a job's nodes away for another job; not, where it does not answer at once."""
    try:
        found = re.search(r"PreemptTime=(\S+)", _shown(job, seconds=20))
    except UserError:
        return False
    return found is not None and found[1] not in ("None", "Unknown")


def array_limit() -> int:
    """Return how many jobs Slurm takes in one array; 1 where it knows no arrays.

    Raises:
        UserError: Slurm does not answer.
    """
    shown = "\n".join(_run("scontrol", "show", "config"))
    limits = re.findall(r"^MaxArraySize *= *(\d+)|^SchedulerParameters *=.*\bmax_array_tasks=(\d+)", shown, re.MULTILINE)
    return max(1, min((int(size or tasks) for size, tasks in limits), default=1))


def array_of(job: str) -> str:
    """Return the number of the array that a job is a task of, or its own."""
    return job.split("_", maxsplit=1)[0]


def cancel(jobs: Collection[str]) -> None:
    """End jobs, which save first.

    Raises:
        UserError: Slurm does not answer.
    """
    _run("scancel", *jobs)


def requeue(job: str) -> None:
    """Queue a job that runs, or has ended, once more.

    Raises:
        UserError: Slurm refuses, or does not answer.
    """
    _run("scontrol", "requeue", job)


def release_held(arrays: Collection[str]) -> int:
    """Let the tasks of job arrays go that Slurm holds though nobody asked for it; return how many.

    Raises:
        UserError: Slurm does not answer.
    """
    held = [job for job, (_, reason) in queued().items() if reason == HELD and array_of(job) in arrays]
    for job in held:
        _run("scontrol", "release", job)
    return len(held)


def _shown(job: str, seconds: float = 60) -> str:
    return "\n".join(_run("scontrol", "-o", "show", "job", job, seconds=seconds))


def _run(*command: str, seconds: float = 60) -> list[str]:
    """Return the lines that a program of Slurm prints.

    Raises:
        UserError: it is not there, refuses, or does not answer in time.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith(_HABITS)}
    log.debug(shlex.join(command))
    try:
        return subprocess.run(command, env=plain, capture_output=True, text=True, timeout=seconds, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{command[0]} does not answer ({error}): try again on a node of the cluster") from None
