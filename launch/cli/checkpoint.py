"""`dsva checkpoint`: look after the checkpoints of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsva.tables import Table
from launch import voice
from shards.errors import UserError

if TYPE_CHECKING:
    from dsva.runs.checkpoint_format import Named

# Imports of torch and what needs it stay inside the commands, so that `--help` starts fast.
# ruff: noqa: PLC0415

app = typer.Typer(help="Look after the checkpoints of a run.", no_args_is_help=True)

RunFolder = Annotated[Path, typer.Argument(help="Run directory, as written by `dsva train`.", show_default=False)]


@app.command(name="ls")
def list_all(run_dir: RunFolder) -> None:
    """List the checkpoints of a run, the newest first."""
    from dsva.runs.checkpoint_format import BEST, DamagedError, described

    rows = []
    for named in _checkpoints(run_dir):
        name = f"{named.path.name} (best)" if named.path.name.startswith(BEST) else named.path.name
        try:
            complete, state = described(named.path)
        except DamagedError:
            rows.append((name, f"{named.step:,}", "", "not complete", ""))
            continue
        size = sum(facts.size for facts in complete.files.values()) / 2**20
        score = "" if state.score is None else f"{state.score:.4g}"
        rows.append((name, f"{state.step:,}", f"{size:,.1f}", f"{state.engine} x {state.world_size}", score))
    voice.show(Table(f"{run_dir}", ("checkpoint", "step", "MiB", "written by", "score"), rows))


@app.command()
def verify(run_dir: RunFolder) -> None:
    """Check every byte of a run's checkpoints; exit code 2 if anything is damaged, or lies there besides."""
    found = {named.path: _verdict(named.path) for named in _checkpoints(run_dir)}
    for path, (_, words) in found.items():
        voice.show(f"{path}: {words}")
    if damaged := [path for path, (whole, _) in found.items() if not whole]:
        raise UserError(
            f"{run_dir}: {len(damaged)} of {len(found)} checkpoints are damaged, {damaged[0].name} first: delete them, or copy "
            "them anew; training passes over them"
        )


@app.command()
def export(
    run_dir: RunFolder,
    target: Annotated[Path, typer.Argument(help="New folder for the model.", show_default=False)],
    best: Annotated[bool, typer.Option("--best", help="The best checkpoint on the validation classes, not the newest.")] = False,
) -> None:
    """Write the trained model by itself, for `DSVA.from_pretrained`: model.safetensors, config.json and a model card, README.md."""
    from dsva.inference.trained_run import Trained
    from dsva.runs import checkpoint
    from dsva.settings import as_override

    trained = Trained.open(run_dir, (as_override("run.dir", run_dir),), checkpoint.best if best else checkpoint.newest)
    trained.export(target)
    voice.show(f"{target}: the model after {trained.checkpoint.step:,} steps")


def _verdict(path: Path) -> tuple[bool, str]:
    """Check a checkpoint; return whether it is as it was written, and the words for it."""
    from dsva.runs.checkpoint import Checkpoint
    from dsva.runs.checkpoint_format import DamagedError

    try:
        checkpoint = Checkpoint.open(path)
    except DamagedError as error:
        return False, str(error)
    return not checkpoint.extra, "; ".join(["every byte is as it was written", *checkpoint.notes])


def _checkpoints(run_dir: Path) -> "list[Named]":
    from dsva.run_directory import CHECKPOINTS
    from dsva.runs.checkpoint_format import BEST, PREFIX, stored

    found = [named for prefix in (PREFIX, BEST) for named in stored(run_dir / CHECKPOINTS, prefix)]
    if not found:
        raise UserError(f"{run_dir / CHECKPOINTS} holds no checkpoints: give a run directory that `dsva train` wrote")
    return found
