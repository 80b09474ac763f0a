"""`dsva sweep ...`."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.live import Live

from launch import voice
from launch.jobs.lock import alone
from launch.slurm.batch import ClusterConfig
from launch.submission.estimate import tell
from launch.submission.start import Where, check_where, decide, scripts
from launch.sweep.actions import begin, measured, queue_cells, release, repeatable, tail
from launch.sweep.actions import cancel as cancel_cells
from launch.sweep.actions import extend as add_cells
from launch.sweep.keeper import follow, keepers
from launch.sweep.plan import Manifest, Planned, expand, read_sweep
from launch.sweep.state import folder_of, states
from launch.sweep.table import as_csv, as_latex, sweep_table
from launch.sweep.view import SHOWN, view
from shards.errors import UserError

log = logging.getLogger(__name__)
app = typer.Typer(help="Many runs as one: every split, protocol and seed, one table.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of the sweep.", show_default=False)]
File = Annotated[Path, typer.Argument(help="Sweep file, such as configs/sweeps/aid.yaml.", show_default=False)]
Cluster = Annotated[Where, typer.Option("--cluster", help="Where: Slurm if it is there, else local; debug is this very process.")]
Partition = Annotated[str | None, typer.Option(help="As Slurm means it; none takes the sweep file's.")]


@app.command()
def start(
    file: File,
    folder: Folder,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value, for every cell.", show_default=False)] = None,
    where: Cluster = "auto",
    partition: Partition = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every cell, print the batch script, queue nothing.")] = False,
) -> None:
    """Check every cell, freeze the list, and queue them all as a job array, or several where Slurm takes no such long one."""
    sweep = read_sweep(file)
    if dry_run:
        cells = expand(sweep, overrides or [], folder)
        _describe(cells, sweep.cluster)
        name, submissions = folder.absolute().name, folder.absolute() / "slurm"
        voice.show(*scripts(len(cells), name, submissions, sweep.cluster, sweep.at_once))
        return
    to = decide(where)
    check_where(to, folder.absolute(), sweep.cluster)
    with alone(folder):
        _describe(begin(sweep, overrides or [], folder), sweep.cluster)
        _queue_open(folder, to, partition)


@app.command()
def extend(file: File, folder: Folder, where: Cluster = "auto", partition: Partition = None) -> None:
    """Add the cells that the sweep file has gained, more seeds or splits say; no cell that is there runs again."""
    to = decide(where)
    with alone(folder):
        before = Manifest.read(folder)
        sweep = read_sweep(file)
        check_where(to, folder.absolute(), sweep.cluster)
        _describe(add_cells(sweep, folder), sweep.cluster, measured(folder, before))
        _queue_open(folder, to, partition, new_only=len(before.cells))


@app.command()
def retry(folder: Folder, where: Cluster = "auto", partition: Partition = None) -> None:
    """Queue what failed or was cancelled, and let go what Slurm holds; each continues from its newest checkpoint."""
    to = decide(where)
    with alone(folder):
        if held := release(folder, Manifest.read(folder)):
            voice.show(f"{held} cells that Slurm held are released")
        _queue_open(folder, to, partition)


@app.command()
def cancel(folder: Folder) -> None:
    """Cancel what runs or waits; it saves first, and `retry` continues it."""
    voice.show(f"{cancel_cells(states(folder, Manifest.read(folder)), folder, keepers(folder))} jobs cancelled")


@app.command()
def status(
    folder: Folder,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until Ctrl-C.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Every cell, not only the first {SHOWN} that are not complete.")
    ] = False,
) -> None:
    """Show what has become of each cell."""
    manifest = Manifest.read(folder)
    if not watch:
        voice.show(view(folder, states(folder, manifest), everything))
        return
    with Live(view(folder, states(folder, manifest), everything), auto_refresh=False) as live:
        while True:
            time.sleep(5)
            live.update(view(folder, states(folder, manifest), everything), refresh=True)


@app.command()
def logs(
    folder: Folder,
    cell: Annotated[str, typer.Argument(help="Cell, or the beginning of its name.", show_default=False)],
    lines: Annotated[int, typer.Option(help="Lines from the end.", min=1)] = 50,
) -> None:
    """Print the end of a cell's output."""
    found = [known for known in Manifest.read(folder).cells if known.name.startswith(cell)]
    if len(found) != 1:
        raise UserError(f"{len(found)} cells of {folder} begin with {cell!r}: give one that `dsva sweep status --all` shows")
    job = folder_of(folder, found[0])
    voice.show(tail(job, str((job.read("submitted.json") or {}).get("log", "")), lines))


@app.command()
def table(
    folder: Folder,
    style: Annotated[Literal["terminal", "markdown", "csv", "latex"], typer.Option("--as", help="How to print it.")] = "terminal",
) -> None:
    """Print mean and standard deviation over seeds and splits beside the published figures; missing cells are named."""
    made = sweep_table(folder, Manifest.read(folder))
    if style == "terminal":
        voice.show(made)
        return
    text = made.markdown() if style == "markdown" else as_csv(made) if style == "csv" else as_latex(made)
    voice.show(text.removesuffix("\n"))
    if style == "csv":  # which has no place for it
        log.info(made.note)


def _describe(new: Sequence[Planned], cluster: ClusterConfig, images_per_second: float | None = None) -> None:
    """Say how much work the new cells are."""
    log.info("%d new cells", len(new))
    tell([planned.estimate for planned in new], cluster, images_per_second)


def _queue_open(folder: Path, where: Where, partition: str | None, new_only: int = 0) -> None:
    """Queue the cells that failed or were never started, from number `new_only` on."""
    manifest = Manifest.read(folder)
    names = {cell.name for cell in manifest.cells[new_only:]}
    cells = [cell for cell in repeatable(folder) if cell.name in names]
    if not cells:
        voice.show("nothing to start: every cell is complete, runs or waits")
        return
    queued: list[str] = []
    try:
        for job in queue_cells(folder, cells, where, partition):
            queued.append(job)
    finally:
        follow(folder, queued, partition)
    voice.show(f"{len(cells)} cells started; `dsva sweep status {folder}` shows them")
