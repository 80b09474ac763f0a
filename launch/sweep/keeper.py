"""What takes up again, without anybody's help, the cells that Slurm ended before they could say a word.

A run whose node is lost within its last minute, for one, reaches its time limit with nobody left to queue it again. So every
job array of a sweep is followed by a small job that waits for its end, and looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch import start
from launch.cluster import ClusterConfig
from launch.folder import FAULT, JobFolder
from launch.insist import insist
from launch.queue import alone, queued
from launch.sweep.carry_out import queue_cells, release
from launch.sweep.plan import Manifest
from launch.sweep.state import State, folder_of, states
from shards.errors import UserError

NOTE = "keepers.json"
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
        return 0 if insist(self._look) else 1

    def _look(self) -> None:
        with alone(self.folder):
            manifest = Manifest.read(self.folder)
            release(self.folder, manifest)
            found = states(self.folder, manifest)
            cells = [state for state in found if state.silent and self._may_go_on(state, manifest)]
            for state in cells:
                print(f"{state.cell.name} {state.reason}: taking it up again", flush=True)
            if cells:
                kept = {state.cell.name: folder_of(self.folder, state.cell).read("kept.json") for state in cells}
                queue_cells(self.folder, [state.cell for state in cells], "slurm", self.partition)
                for state in cells:
                    folder = folder_of(self.folder, state.cell)
                    folder.write("kept.json", step=folder.step(), count=_count(folder, kept[state.cell.name]))
            jobs = [_job(self.folder, state) for state in found if state.name in ("RUNNING", "PENDING")]
            follow(self.folder, [*jobs, *(_job(self.folder, state) for state in cells)], self.partition)

    def _may_go_on(self, state: State, manifest: Manifest) -> bool:
        """Say whether a cell has got further since it was taken up before, or not been so too often; note it where not."""
        folder = folder_of(self.folder, state.cell)
        if (count := _count(folder, folder.read("kept.json"))) <= manifest.sweep.cluster.max_crashes:
            return True
        folder.fail(f"{state.reason}; taken up again {count - 1} times without getting further", FAULT)
        return False


def follow(folder: Path, jobs: Sequence[str], partition: str | None) -> None:
    """Queue a keeper that runs when all of `jobs` have ended, whatever their end; say so where Slurm refuses it."""
    arrays = sorted({job.split("_")[0] for job in jobs if job})
    if not arrays:
        return
    own = Manifest.read(folder).sweep.cluster
    changes = {**ONE, "time": "30", "sbatch": {**own.sbatch, "dependency": f"afterany:{':'.join(arrays)}"}}
    cluster = ClusterConfig.model_validate(own.model_dump() | changes | ({"partition": partition} if partition else {}))
    keeper = Keeper(folder.absolute(), partition)
    try:
        numbers = start.queue([keeper], f"{folder.name}-keeper", keeper.run / "slurm", cluster, 1)
    except UserError as error:
        print(f"no job looks after the sweep when its own have ended ({error}): `dsva sweep retry` does it by hand", flush=True)
        return
    before = (JobFolder(keeper.run).read(NOTE) or {"jobs": []})["jobs"]
    JobFolder(keeper.run).write(NOTE, jobs=[*before, *numbers])


def keepers(folder: Path) -> list[str]:
    """Return the keepers of a sweep that wait or run."""
    noted = (JobFolder(folder / "keeper").read(NOTE) or {"jobs": []})["jobs"]
    waiting = queued() if noted else {}
    return [job for job in noted if job in waiting]


def _job(folder: Path, state: State) -> str:
    return str((folder_of(folder, state.cell).read("submitted.json") or {}).get("job", ""))


def _count(folder: JobFolder, before: dict[str, int] | None) -> int:
    """Return how often a cell will have been taken up again from its newest checkpoint."""
    return before["count"] + 1 if before and before["step"] == folder.step() else 1
