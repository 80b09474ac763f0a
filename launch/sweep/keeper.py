"""What takes up again, without anybody's help, the cells that Slurm ended before they could say a word.

A run whose node is lost within its last minute, for one, reaches its time limit with nobody left to queue it again. So every
job array of a sweep is followed by a small job that waits for its end, and looks.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsva.exit_codes import DONE, FAULT
from launch import voice
from launch.jobs.folder import JobFolder
from launch.jobs.lock import alone
from launch.slurm.batch import ClusterConfig
from launch.slurm.client import array_of, queued
from launch.slurm.retry import retry
from launch.submission import start
from launch.sweep.actions import queue_cells, release
from launch.sweep.plan import Cell, Manifest
from launch.sweep.state import State, folder_of, job_of, states
from shards.errors import UserError

log = logging.getLogger(__name__)

NOTE, KEPT = "keepers.json", "kept.json"
ONE = {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": 1, "cpus_per_task": 1, "memory_gb": 2, "signal_seconds": 60}


@dataclass(frozen=True)
class Keeper:
    """The job that follows job arrays of the sweep in `folder`; `partition` is where they were queued, if not its own."""

    folder: Path
    partition: str | None

    @property
    def run(self) -> Path:
        """Folder of its own notes."""
        return self.folder / "keeper"

    def __call__(self) -> int:
        """Look once; queue what is to go on, and the keeper that follows that."""
        voice.set_up_job()
        return DONE if retry(self._look) else FAULT

    def _look(self) -> None:
        with alone(self.folder):
            manifest = Manifest.read(self.folder)
            release(self.folder, manifest)
            found = states(self.folder, manifest)
            again = [state for state in found if state.silent and self._may_go_on(state, manifest)]
            for state in again:
                log.info("%s %s: taking it up again", state.cell.name, state.reason)
            if again:
                self._take_up([state.cell for state in again])
            followed = [*again, *(state for state in found if state.name in ("RUNNING", "PENDING"))]
            follow(self.folder, [job_of(self.folder, state.cell) for state in followed], self.partition)

    def _take_up(self, cells: Sequence[Cell]) -> None:
        """Queue cells, and count it: queueing, which a person does too, begins to count anew."""
        folders = [folder_of(self.folder, cell) for cell in cells]
        counts = [folder.count(KEPT) for folder in folders]
        list(queue_cells(self.folder, cells, "slurm", self.partition))
        for folder, count in zip(folders, counts, strict=True):
            folder.write(KEPT, step=folder.step(), count=count)

    def _may_go_on(self, state: State, manifest: Manifest) -> bool:
        """Say whether a cell has got further since it was taken up before, or not been so too often; note it where not."""
        folder = folder_of(self.folder, state.cell)
        if (count := folder.count(KEPT)) <= manifest.sweep.cluster.max_crashes:
            return True
        folder.fail(f"{state.reason}; taken up again {count - 1} times without getting further", FAULT)
        return False


def follow(folder: Path, jobs: Sequence[str], partition: str | None) -> None:
    """Queue a keeper that runs when all of `jobs` have ended, whatever their end; say so where Slurm refuses it."""
    arrays = sorted({array_of(job) for job in jobs if job})
    if not arrays:
        return
    own = Manifest.read(folder).sweep.cluster
    changes = {**ONE, "time": "30", "sbatch": {**own.sbatch, "dependency": f"afterany:{':'.join(arrays)}"}}
    cluster = ClusterConfig.model_validate(own.model_dump() | changes | ({"partition": partition} if partition else {}))
    keeper = Keeper(folder.absolute(), partition)
    try:
        [job] = start.queue([keeper], f"{folder.absolute().name}-keeper", keeper.run / "slurm", cluster, 1)
    except UserError as error:
        log.warning("no job looks after the sweep when its own have ended (%s): `dsva sweep retry` does it by hand", error)
        return
    before = (JobFolder(keeper.run).read(NOTE) or {"jobs": []})["jobs"]
    JobFolder(keeper.run).write(NOTE, jobs=[*before, job.number])


def keepers(folder: Path) -> list[str]:
    """Return the keepers of a sweep that wait or run."""
    noted = (JobFolder(folder / "keeper").read(NOTE) or {"jobs": []})["jobs"]
    waiting = queued() if noted else {}
    return [job for job in noted if job in waiting]
