"""What a batch script does when its processes have ended otherwise than well: start again, or say why not.

Usage: python -m launch.slurm.requeue RUNS LIMIT CODE, where RUNS is a JSON list of run directories, one for each index of
the job array, LIMIT how often a run may crash without getting further, and CODE the exit code of srun.
"""

import json
import logging
import os
import signal
import sys
from pathlib import Path

from dsva.exit_codes import DONE, FAULT, HUNG, MISTAKE, signal_of
from dsva.processes.environment import SlurmJob
from launch import voice
from launch.jobs.folder import JobFolder
from launch.jobs.lease import may_follow, newest_generation
from launch.jobs.worker import Worker
from launch.slurm import client
from launch.slurm.retry import retry

log = logging.getLogger(__name__)


def may_restart(folder: JobFolder, start: str, code: int, limit: int, cancelled: bool) -> bool:
    """Return whether the job shall start again; where not, a reason stands in the job folder.

    Args:
        folder: of the run.
        start: of the job that has ended.
        code: exit code of srun.
        limit: how often a run may crash without getting further.
        cancelled: somebody wanted the job to end. SIGTERM alone says little: Slurm may end a step without the job,
            when it repeats a cancellation that was meant for an earlier start for example.
    """
    beat = folder.read("heartbeat.json") or {}
    if code == DONE or folder.done() or (beat.get("state"), beat.get("start")) == ("requeued", start):
        return False
    failed = folder.failed() or {}
    if failed.get("code") == MISTAKE or cancelled:
        return False
    reason = "; ".join(filter(None, (failed.get("reason"), described(code))))
    count, step = folder.count("crashes.json"), folder.step()
    folder.write("crashes.json", step=step, count=count, reason=reason)
    if count <= limit:
        return True
    where = f" at the checkpoint of step {step}" if step else ""
    folder.fail(f"crashed {count} times{where}, the last time: {reason}", FAULT)
    return False


def described(code: int) -> str:
    """Say in words what an exit code of srun means."""
    if number := signal_of(code):
        return f"a process died of {number.name}" + (" (often: out of memory)" if number == signal.SIGKILL else "")
    if code == HUNG:
        return "the run got no further; the stacks of its processes are in its folder hangs"
    return f"a process ended with exit code {code}"


def main(runs: str, limit: str, code: str) -> None:
    """Requeue the job of this batch script if it shall start again."""
    voice.set_up("info", job=True)  # whatever DSVA_LOG says: a mistake in it must not keep the job from starting again
    job, worker = SlurmJob.of(os.environ), Worker.of(os.environ)
    assert job is not None, "the batch script of a job calls this"
    run = json.loads(Path(runs).read_text())[job.index]
    folder = JobFolder(Path(run))
    if not may_follow(folder, *newest_generation(folder), worker):
        sys.exit(f"{run} is another job's: it is left alone")
    try:
        again = may_restart(folder, worker.start, int(code), int(limit), _cancelled(job.number))
    except OSError as error:  # without a note of its crashes it might start again for ever
        sys.exit(f"{run}: {described(int(code))}, and this cannot be noted: {error}")
    if again:
        log.info("%s: %s: starting again", run, described(int(code)))
        retry(lambda: client.requeue(job.name))


def _cancelled(job: str) -> bool:
    said = [False]
    retry(lambda: said.append(client.is_cancelled(job)))
    return said[-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
