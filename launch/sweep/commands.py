"""`dsva sweep ...`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live

from launch.jobs.lock import alone
from launch.slurm.batch import ClusterConfig
from launch.submission.estimate import print_estimates
from launch.submission.start import Where, check_where, decide, show_script
from launch.sweep.actions import begin, measured, queue_cells, release, repeatable, tail
from launch.sweep.actions import cancel as cancel_cells
from launch.sweep.actions import extend as add_cells
from launch.sweep.keeper import follow, keepers
from launch.sweep.plan import Manifest, Planned, expand, read_sweep
from launch.sweep.state import folder_of, states
from launch.sweep.table import as_csv, as_latex, sweep_table
from launch.sweep.view import SHOWN, view
from shards.errors import UserError

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
    sweep, console = read_sweep(file), Console(soft_wrap=True, highlight=False)
    if dry_run:
        cells = expand(sweep, overrides or [], folder)
        _describe(cells, sweep.cluster, None, console)
        show_script(len(cells), folder.absolute().name, folder.absolute() / "slurm", sweep.cluster, sweep.at_once, console)
        return
    to = decide(where)
    check_where(to, folder.absolute(), sweep.cluster)
    with alone(folder):
        _describe(begin(sweep, overrides or [], folder), sweep.cluster, None, console)
        _queue_open(folder, to, partition, console)


@app.command()
def extend(file: File, folder: Folder, where: Cluster = "auto", partition: Partition = None) -> None:
    """Add the cells that the sweep file has gained, more seeds or splits say; no cell that is there runs again."""
    console, to = Console(soft_wrap=True, highlight=False), decide(where)
    with alone(folder):
        before = Manifest.read(folder)
        sweep = read_sweep(file)
        check_where(to, folder.absolute(), sweep.cluster)
        _describe(add_cells(sweep, folder), sweep.cluster, measured(folder, before), console)
        _queue_open(folder, to, partition, console, new_only=len(before.cells))


@app.command()
def retry(folder: Folder, where: Cluster = "auto", partition: Partition = None) -> None:
    """Queue what failed or was cancelled, and let go what Slurm holds; each continues from its newest checkpoint."""
    to = decide(where)
    with alone(folder):
        if held := release(folder, Manifest.read(folder)):
            print(f"{held} cells that Slurm held are released")
        _queue_open(folder, to, partition, Console(soft_wrap=True, highlight=False))


@app.command()
def cancel(folder: Folder) -> None:
    """Cancel what runs or waits; it saves first, and `retry` continues it."""
    print(f"{cancel_cells(states(folder, Manifest.read(folder)), folder, keepers(folder))} jobs cancelled")


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
        Console(highlight=False).print(view(folder, states(folder, manifest), everything))
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
    print(tail(job, str((job.read("submitted.json") or {}).get("log", "")), lines))


@app.command()
def table(
    folder: Folder,
    style: Annotated[Literal["terminal", "markdown", "csv", "latex"], typer.Option("--as", help="How to print it.")] = "terminal",
) -> None:
    """Print mean and standard deviation over seeds and splits beside the published figures; missing cells are named."""
    made = sweep_table(folder, Manifest.read(folder))
    if style == "terminal":
        Console().print(made.rich())
        return
    print(made.markdown() if style == "markdown" else as_csv(made) if style == "csv" else as_latex(made), end="")
    if style == "csv":  # which has no place for it
        print(made.note, file=sys.stderr)


def _describe(new: Sequence[Planned], cluster: ClusterConfig, images_per_second: float | None, console: Console) -> None:
    """Say how much work the new cells are."""
    console.print(f"{len(new)} new cells")
    print_estimates([planned.estimate for planned in new], cluster, console, images_per_second)


def _queue_open(folder: Path, where: Where, partition: str | None, console: Console, new_only: int = 0) -> None:
    """Queue the cells that failed or were never started, from number `new_only` on."""
    manifest = Manifest.read(folder)
    names = {cell.name for cell in manifest.cells[new_only:]}
    cells = [cell for cell in repeatable(folder) if cell.name in names]
    if not cells:
        console.print("nothing to start: every cell is complete, runs or waits")
        return
    queued: list[str] = []
    try:
        for job in queue_cells(folder, cells, where, partition):
            queued.append(job)
    finally:
        follow(folder, queued, partition)
    console.print(f"{len(cells)} cells started; `dsva sweep status {folder}` shows them", markup=False)
