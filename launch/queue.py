"""What Slurm says of its queue."""

import getpass
import subprocess

from shards.errors import UserError


def queued() -> dict[str, tuple[str, str]]:
    """Return state and reason of this user's jobs, array tasks one by one.

    Raises:
        UserError: Slurm does not answer; to take that for an empty queue would call running jobs ended.
    """
    lines = ask("squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i|%T|%r")
    return {job: (state, reason) for job, state, reason in (line.split("|", 2) for line in lines)}


def ask(*command: str) -> list[str]:
    """Return the lines that a command of Slurm prints.

    Raises:
        UserError: it does not answer.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{command[0]} does not answer ({error}): try again on a node of the cluster") from None
