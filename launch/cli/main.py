"""The command line: reads arguments, calls the packages, turns mistakes into one sentence and exit code 2."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dsva.exit_codes import MISTAKE
from dsva.files import FULL
from dsva.own_process import declare_own_process, imported_for_good
from launch.archive.commands import pack, shards_app
from launch.cli.attributes import app as attributes_app
from launch.cli.checkpoint import app as checkpoint_app
from launch.cli.choose import choose
from launch.cli.inspect import ablate, explain, map_scene, predict, report
from launch.cli.submit import submit
from launch.doctor.command import doctor
from launch.sweep.commands import app as sweep_app
from shards.errors import UserError

# Imports of torch and what needs it stay inside the commands, so that `pack`, `shards` and `--help` start fast.
# ruff: noqa: PLC0415

app = typer.Typer(
    help="Zero-shot scene classification in remote sensing: pack images, train DSVA, score unseen classes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
RunFolder = Annotated[Path, typer.Argument(help="Run directory, as written by `dsva train`.", show_default=False)]
ConfigFile = Annotated[Path, typer.Argument(help="YAML file, such as configs/aid_25_5.yaml.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Values to change, as section.key=value; `dsva config` lists all keys.", show_default=False),
]


def train(
    config: ConfigFile,
    overrides: Overrides = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Begin anew; what the run has written is kept aside.")
    ] = False,
) -> None:
    """Train DSVA; the same command again continues the run.

    SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 save a checkpoint at the next step boundary; the exit code is then 128 plus the
    signal's number.
    """
    with imported_for_good():
        from dsva.config import load
        from dsva.train.run import run

    raise typer.Exit(run(load(config, overrides or []), _console(), from_scratch))


def evaluate(run_dir: RunFolder, overrides: Overrides = None) -> None:
    """Score a finished run on its test classes, ZSL and GZSL: table, pictures and results.json."""
    from dsva.inference.trained_run import evaluate_run

    evaluate_run(run_dir, overrides or [], _console())


def demo(
    target: Annotated[Path, typer.Argument(help="Folder for scenes, shards and run.")] = Path("RUNS/demo"),
    overrides: Overrides = None,
) -> None:
    """Draw scenes, pack them, train a small model and score classes it has never seen: nothing to download, 3 minutes."""
    from dsva.demo.run import run_demo

    raise typer.Exit(run_demo(target, overrides or [], Console()))


def show_config() -> None:
    """List every key of the configuration with its default and meaning."""
    from dsva.config import Config
    from dsva.settings import documentation

    table = Table("key", "default", "meaning", title="configuration")
    for row in documentation(Config):
        table.add_row(*row)
    Console().print(table)


# In the order of `dsva --help`.
PANELS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "The journey": {"pack": pack, "choose": choose, "train": train, "eval": evaluate, "demo": demo, "config": show_config},
    "What a run can do": {"report": report, "explain": explain, "predict": predict, "map": map_scene, "ablate": ablate},
    "On a cluster": {"submit": submit, "sweep": sweep_app, "doctor": doctor},
    "What lies on disk": {"shards": shards_app, "attributes": attributes_app, "checkpoint": checkpoint_app},
}
for panel, commands in PANELS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name=name, rich_help_panel=panel)(command)


def main() -> None:
    """Run the command line; exit code 0 done, 2 the user's mistake, 1 ours."""
    declare_own_process()
    try:
        app()
    except UserError as error:
        sys.exit(_refused(str(error)))
    except OSError as error:
        if error.errno in FULL:
            sys.exit(_refused(f"{error.filename or 'a file'} cannot be written ({error.strerror}): make room, and try again"))
        # Of the file system, if it names a file: a name that is too long, a folder that is none, one that cannot be written.
        path = error.filename2 or error.filename  # where a file is renamed, the name that it should have
        if path is None:
            raise
        sys.exit(_refused(f"{path} cannot be used ({error.strerror}): give another place, or mend that one"))


def _console() -> Console:
    """Return where a run speaks: in a file, which may be searched, every sentence has one line."""
    return Console(soft_wrap=not sys.stdout.isatty())


def _refused(sentence: str) -> int:
    Console(stderr=True, highlight=False, soft_wrap=True).print("[bold red]error:[/] ", end="")
    print(sentence, file=sys.stderr)
    return MISTAKE
