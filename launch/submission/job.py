"""The one thing that is sent to a cluster: train the run in a folder, as its job folder says.

Nothing about resuming is in the pickle: every start looks up the newest complete checkpoint, whatever ended the last.
"""

import logging
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dsva.exit_codes import DONE, signal_of, stopped_by
from dsva.files import room_for
from dsva.own_process import declare_own_process, imported_for_good
from dsva.processes.environment import SlurmJob, node_name
from dsva.processes.rendezvous import meet
from launch import voice
from launch.jobs.folder import JobFolder
from launch.jobs.lease import Lease
from launch.jobs.lock import await_earlier
from launch.jobs.worker import Worker
from launch.slurm.client import release_held
from launch.slurm.task import Task, failures_noted, start_again
from shards.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job(Task):
    """Train, or continue, the run in the folder `run`; called by each of its processes."""

    run: Path

    def __call__(self) -> int:
        """Return 0 when the run is complete.

        Raises:
            SystemExit: 2 a mistake in what was given; 128 plus a signal's number when the run was stopped and saved; 255
                after asking Slurm to start the job again.
        """
        folder, worker = JobFolder(self.run), Worker.of(os.environ)
        if folder.done():
            return DONE
        with ExitStack() as stack:
            lease, where = None, f"rank {worker.rank} on {node_name()}"
            with failures_noted(folder, lambda error: f"{where}: {type(error).__name__}: {_first_line(error)}"):
                voice.set_up_job()
                with room_for(folder.run):
                    if worker.rank == 0:
                        lease = stack.enter_context(Lease(folder, worker))
                        folder.forget_failure()
                    code = _train(folder, worker)
                    if lease and code == DONE:
                        folder.write("done.json", generation=lease.generation, start=worker.start, scores=_scores(folder.run))
            if lease and (stopped := signal_of(code)):
                _stopped(folder, lease, stopped)
        if code:
            sys.exit(code)
        if worker.rank == 0:
            _look_after_others(SlurmJob.of(os.environ))
        return DONE


def _train(folder: JobFolder, worker: Worker) -> int:
    """Import torch, meet the other processes and train."""
    declare_own_process()
    with imported_for_good():
        from dsva.config import load  # noqa: PLC0415 (slow; a job that is complete needs none of it)
        from dsva.train.run import run, told  # noqa: PLC0415

    config = load(folder.config)
    if worker.rank == 0:
        await_earlier(folder.run)
    store = meet(worker.position, worker.start, folder.path, os.environ)
    code = run(config)
    if code == DONE and voice.speaks():
        voice.show(*told(folder.run))
    del store
    return code


def _look_after_others(job: SlurmJob | None) -> None:
    """Let the other tasks of a finished task's array go, should Slurm hold one."""
    try:
        if job and job.array and (held := release_held({job.array})):
            log.info("%d tasks of job array %s were held because a node had refused them, and are released", held, job.array)
    except UserError as error:
        log.warning(str(error))


def _scores(run: Path) -> dict[str, list[float | None]]:
    """Return ZSL accuracy and GZSL's harmonic mean of each head, so that a look at many runs need not read all results."""
    from dsva.evaluation.results import Results  # noqa: PLC0415
    from dsva.run_directory import RESULTS  # noqa: PLC0415

    heads = Results.read(run / RESULTS).heads
    return {name: [head.zsl, head.gzsl.harmonic if head.gzsl else None] for name, head in heads.items()}


def _stopped(folder: JobFolder, lease: Lease, number: signal.Signals) -> None:
    """On rank 0, after all have saved: have Slurm start the job again if that is what the signal meant, else note the stop."""
    start_again(lease, number)
    folder.fail(f"stopped by {number.name} and saved at step {folder.step()}", stopped_by(number))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


if __name__ == "__main__":
    sys.exit(Job(Path(sys.argv[1]))())
