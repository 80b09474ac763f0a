"""The page of a sweep: what `dsva.report.sweep` needs to know of its cells."""

from pathlib import Path

from dsva.report.sweep import Member, write_sweep_report
from launch.sweep.plan import MANIFEST, Cell, Manifest
from launch.sweep.state import folder_of
from launch.sweep.table import sweep_table
from shards.files import file_sha256


def report_sweep(folder: Path) -> Path:
    """Write the page of a sweep from what lies in its folder, without asking Slurm; return its path.

    Raises:
        UserError: no sweep, or results that cannot be read.
    """
    manifest = Manifest.read(folder)
    members = [_member(folder, cell) for cell in manifest.cells]
    facts = {
        "manifest, sha256": file_sha256(folder / MANIFEST),
        "overrides": " ".join(manifest.overrides) or "none",
        "sweep": manifest.sweep.model_dump_json(exclude={"cluster"}),
    }
    return write_sweep_report(folder.absolute(), manifest.sweep.head, sweep_table(folder, manifest), members, facts)


def _member(folder: Path, cell: Cell) -> Member:
    job = folder_of(folder, cell)
    complete = job.done() is not None
    failed = job.failed()
    begun = f"not complete, at step {job.metrics().get('step', 0)} of {cell.steps}" if job.path.is_dir() else "never started"
    state = "complete" if complete else f"failed: {failed['reason']}" if failed else begun
    return Member(cell.name, " ".join(filter(None, cell.row)), cell.seed, job.run, state, complete)
