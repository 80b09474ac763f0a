"""What Slurm says of its queue, and one command at a time that adds to it."""

import fcntl
import os
import re
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import UserError

# A node that was lost and came back may refuse a job, because remains of its earlier start still run there. Slurm then
# queues the job again, but holds it until somebody lets it go.
HELD = "launch failed requeued held"
# With these a user's shell hides jobs from Slurm's commands, or has them printed otherwise.
_HABITS = ("SQUEUE_", "SACCT_", "SCANCEL_")


def queued() -> dict[str, tuple[str, str]]:
    """Return state and reason of this user's jobs, array tasks one by one.

    Raises:
        UserError: Slurm does not answer; to take that for an empty queue would call running jobs ended.
    """
    lines = ask("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T|%r")
    return {job: (state, reason) for job, state, reason in (line.split("|", 2) for line in lines)}


def array_limit() -> int:
    """Return how many jobs Slurm takes in one array; 1 where it knows no arrays.

    Raises:
        UserError: Slurm does not answer.
    """
    shown = "\n".join(ask("scontrol", "show", "config"))
    limits = re.findall(r"^MaxArraySize *= *(\d+)|^SchedulerParameters *=.*\bmax_array_tasks=(\d+)", shown, re.MULTILINE)
    return max(1, min((int(size or tasks) for size, tasks in limits), default=1))


def ask(*command: str) -> list[str]:
    """Return the lines that a command of Slurm prints.

    Raises:
        UserError: it does not answer.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith(_HABITS)}
    try:
        return subprocess.run(command, env=plain, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{command[0]} does not answer ({error}): try again on a node of the cluster") from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep two commands from queueing the same work, whose notes lie in `folder`.

    Raises:
        UserError: another command is doing so, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): give a folder where that is possible") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another command is at work on {folder}: wait for it") from None
        yield


def release_held(arrays: Collection[str]) -> int:
    """Let the tasks of job arrays go that Slurm holds though nobody asked for it; return how many.

    Raises:
        UserError: Slurm does not answer.
    """
    held = [job for job, (_, reason) in queued().items() if reason == HELD and job.split("_")[0] in arrays]
    for job in held:
        ask("scontrol", "release", job)
    return len(held)
