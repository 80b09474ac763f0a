"""Starting, extending, repeating and cancelling a sweep. One of these at a time for a sweep."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from launch.jobs.folder import JobFolder
from launch.slurm import client
from launch.slurm.client import array_of, release_held
from launch.submission import start
from launch.submission.start import Where
from launch.sweep.plan import MANIFEST, Cell, Manifest, Planned, SweepConfig, expand
from launch.sweep.state import State, folder_of, job_of, states
from shards.errors import UserError


def begin(file_sweep: SweepConfig, overrides: Sequence[str], folder: Path) -> list[Planned]:
    """Check every cell, then write the manifest and each cell's configuration; return the cells.

    Where the folder holds the same cells, but some were never started, since Slurm did not take them say, these are returned.

    Raises:
        UserError: a cell is wrong, or the folder holds another sweep, or one that has been started.
    """
    before = states(folder, Manifest.read(folder)) if (folder / MANIFEST).exists() else []
    started = {state.cell.identity for state in before if state.name != "NEW"}
    planned = expand(file_sweep, overrides, folder) if not before or len(started) < len(before) else []
    if before and {state.cell.identity for state in before} != {one.cell.identity for one in planned}:
        raise UserError(
            f"{folder} holds a sweep already: `dsva sweep status` shows it, retry repeats what failed, extend adds cells"
        )
    new = [one for one in planned if one.cell.identity not in started]
    _freeze(file_sweep, overrides, folder, [one.cell for one in planned], new)
    return new


def extend(file_sweep: SweepConfig, folder: Path) -> list[Planned]:
    """Add the cells that the sweep file has and the manifest has not, and return them; what is there stays as it is."""
    before = Manifest.read(folder)
    known = {cell.identity for cell in before.cells}
    new = [one for one in expand(file_sweep, before.overrides, folder) if one.cell.identity not in known]
    _freeze(file_sweep, before.overrides, folder, [*before.cells, *(one.cell for one in new)], new)
    return new


def queue_cells(folder: Path, cells: Sequence[Cell], where: Where, partition: str | None) -> Iterator[str]:
    """Start cells, as job arrays on Slurm, in another partition than the sweep's if one is given; yield their jobs.

    Raises:
        UserError: Slurm takes no more; what was yielded before is queued, and noted.
    """
    sweep = Manifest.read(folder).sweep
    cluster = sweep.cluster.model_copy(update={"partition": partition} if partition else {})
    runs = [folder_of(folder, cell) for cell in cells]
    for job in runs:
        job.forget_failure()
        for counted in ("crashes.json", "kept.json"):
            (job.path / counted).unlink(missing_ok=True)
    submissions = folder.absolute() / "slurm"
    started = start.start([job.run for job in runs], folder.absolute().name, submissions, where, cluster, sweep.at_once)
    for job, queued in zip(runs, started, strict=False):
        job.write("submitted.json", job=queued.number, log=str(queued.log))
        yield queued.number


def cancel(found: Sequence[State], folder: Path, besides: Sequence[str]) -> int:
    """Cancel the jobs of cells that run or wait, which save first, and other jobs `besides`; return how many cells it were."""
    jobs = [job for state in found if state.name in ("RUNNING", "PENDING") and (job := job_of(folder, state.cell))]
    if jobs or besides:
        client.cancel([*besides, *jobs])
    return len(jobs)


def repeatable(folder: Path) -> list[Cell]:
    """Return the cells that failed or were never started."""
    return [state.cell for state in states(folder, Manifest.read(folder)) if state.name in ("FAILED", "NEW")]


def release(folder: Path, manifest: Manifest) -> int:
    """Let the cells go that Slurm holds though nobody asked for it; return how many."""
    arrays = {array_of(job) for cell in manifest.cells if (job := job_of(folder, cell))}
    return release_held(arrays) if arrays else 0


def measured(folder: Path, manifest: Manifest) -> float | None:
    """Return the images/s of the cells that are complete, their median; None where there are none."""
    found = [job.metrics().get("images_per_second") for cell in manifest.cells if (job := folder_of(folder, cell)).done()]
    known = [speed for speed in found if speed]
    return statistics.median(known) if known else None


def _freeze(sweep: SweepConfig, overrides: Sequence[str], folder: Path, cells: Sequence[Cell], new: Sequence[Planned]) -> None:
    for config in [planned.config for planned in new if not start.complete(planned.config, planned.checked)]:
        start.write_down(config)
    Manifest(sweep=sweep, overrides=tuple(overrides), cells=tuple(cells)).write(folder)


def tail(job: JobFolder, log: str, lines: int) -> str:
    """Return the end of a cell's output.

    Raises:
        UserError: it has none.
    """
    path = Path(log)
    if not log or not path.is_file():
        raise UserError(f"{job.run} has no output on file: it was not started yet, or not on Slurm")
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
