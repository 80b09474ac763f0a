"""`dsva checkpoint`: look after the checkpoints of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from shards.errors import UserError

if TYPE_CHECKING:
    from dsva.train.checkpoint import Checkpoint

# Imports of torch and what needs it stay inside the commands, so that `--help` starts fast.
# ruff: noqa: PLC0415

app = typer.Typer(help="Look after the checkpoints of a run.", no_args_is_help=True)

RunFolder = Annotated[Path, typer.Argument(help="Run directory, as written by `dsva train`.", show_default=False)]


@app.command(name="ls")
def list_all(run_dir: RunFolder) -> None:
    """List the checkpoints of a run, the newest first."""
    from dsva.train.checkpoint import BEST, COMPLETE

    table = Table("checkpoint", "step", "MiB", "written by", "score", title=f"{run_dir}", title_justify="left")
    for checkpoint in _checkpoints(run_dir):
        size = sum(file.stat().st_size for file in checkpoint.path.iterdir()) / 2**20
        try:
            state = checkpoint.state() if (checkpoint.path / COMPLETE).is_file() else {}
            writer, score = f"{state['engine']} x {state['world_size']}", state["score"]
        except (KeyError, ValueError, OSError):
            writer, score = "not complete", None
        name = f"{checkpoint.path.name} (best)" if checkpoint.path.name.startswith(BEST) else checkpoint.path.name
        table.add_row(name, f"{checkpoint.step:,}", f"{size:,.1f}", writer, "" if score is None else f"{score:.4g}")
    Console().print(table)


@app.command()
def verify(run_dir: RunFolder) -> None:
    """Check every byte of a run's checkpoints; exit code 2 if anything is damaged."""
    from dsva.train.checkpoint import fault

    faults = {checkpoint.path: fault(checkpoint.path) for checkpoint in _checkpoints(run_dir)}
    for path, reason in faults.items():
        Console().print(f"{path}: {reason or 'every byte is as it was written'}", highlight=False, markup=False, soft_wrap=True)
    if damaged := [path for path, reason in faults.items() if reason]:
        raise UserError(
            f"{run_dir}: {len(damaged)} of {len(faults)} checkpoints are damaged, {damaged[0].name} first: delete them, or copy "
            "them anew; training passes over them"
        )


@app.command()
def export(
    run_dir: RunFolder,
    target: Annotated[Path, typer.Argument(help="New folder for the model.", show_default=False)],
    best: Annotated[bool, typer.Option("--best", help="The best checkpoint on the validation classes, not the newest.")] = False,
) -> None:
    """Write the trained model by itself, for `DSVA.from_pretrained`: model.safetensors, config.json and a model card, README.md."""
    from dsva.train.checkpoint import BEST, PREFIX
    from dsva.trained import Trained

    trained = Trained.open(run_dir, (f"run.dir={run_dir}",), BEST if best else PREFIX)
    trained.export(target)
    Console().print(f"{target}: the model after {trained.checkpoint.step:,} steps", highlight=False, markup=False, soft_wrap=True)


def _checkpoints(run_dir: Path) -> "list[Checkpoint]":
    from dsva.train.checkpoint import BEST, PREFIX, stored
    from dsva.train.gate import CHECKPOINTS

    found = [checkpoint for prefix in (PREFIX, BEST) for checkpoint in stored(run_dir / CHECKPOINTS, prefix)]
    if not found:
        raise UserError(f"{run_dir / CHECKPOINTS} holds no checkpoints: give a run directory that `dsva train` wrote")
    return found
