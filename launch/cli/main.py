"""The command line: reads arguments, calls the packages, turns mistakes into one sentence and exit code 2."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from dsva.exit_codes import MISTAKE, stopped_by
from dsva.files import FULL
from dsva.own_process import declare_own_process, imported_for_good
from dsva.train.stopping import StoppedError
from launch import voice
from launch.archive.commands import pack, shards_app
from launch.cli.attributes import app as attributes_app
from launch.cli.checkpoint import app as checkpoint_app
from launch.cli.inspect import explain, map_scene, predict, report
from launch.cli.studies import ablate, choose
from launch.cli.submit import submit
from launch.doctor.command import doctor
from launch.sweep.commands import app as sweep_app
from shards.errors import UserError

# Imports of torch and what needs it stay inside the commands, so that `pack`, `shards` and `--help` start fast.
# ruff: noqa: PLC0415

log = logging.getLogger(__name__)


class SpokenGroup(TyperGroup):
    """Commands that know how much to say, wherever among their words that is said."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: D102
        end = args.index("--") if "--" in args else len(args)
        first = [word for word in args[:end] if word in (*QUIET, *VERBOSE)]
        return super().parse_args(ctx, [*first, *(word for word in args[:end] if word not in first), *args[end:]])


QUIET, VERBOSE = ("--quiet", "-q"), ("--verbose", "-v")
app = typer.Typer(
    cls=SpokenGroup,
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


@app.callback()
def speak(
    quiet: Annotated[bool, typer.Option(*QUIET, help="Say only what is wrong, and the answer.")] = False,
    verbose: Annotated[
        bool, typer.Option(*VERBOSE, help="Say more. In the environment, DSVA_LOG=debug, info or warning is for jobs, too.")
    ] = False,
) -> None:
    """Set up logging for what the command does."""
    if quiet and verbose:
        voice.set_up("info")
        raise UserError("--quiet and --verbose contradict each other: give one of them")
    voice.set_up("warning" if quiet else "debug" if verbose else None)


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
        from dsva.train.run import run, told

    wanted = load(config, overrides or [])
    if code := run(wanted, from_scratch):
        raise typer.Exit(code)
    if voice.speaks():
        voice.show(*told(wanted.run.dir))


def evaluate(run_dir: RunFolder, overrides: Overrides = None) -> None:
    """Score a finished run on its test classes, ZSL and GZSL: table, pictures and results.json."""
    from dsva.evaluation.evaluate import told
    from dsva.inference.trained_run import evaluate_run

    evaluate_run(run_dir, overrides or [])
    if voice.speaks():
        voice.show(*told(run_dir))


def demo(
    target: Annotated[Path, typer.Argument(help="Folder for scenes, shards and run.")] = Path("RUNS/demo"),
    overrides: Overrides = None,
) -> None:
    """Draw scenes, pack them, train a small model and score classes it has never seen: nothing to download, 3 minutes."""
    from dsva.demo.run import run_demo
    from dsva.train.run import told

    run, page = run_demo(target, overrides or [])
    voice.show(*told(run), f"look at it: {page}")


def show_config() -> None:
    """List every key of the configuration with its default and meaning."""
    from dsva.config import Config
    from dsva.settings import documentation

    table = Table("key", "default", "meaning", title="configuration")
    for row in documentation(Config):
        table.add_row(*map(Text, row))
    voice.show(table)


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
    except StoppedError as stopped:
        sys.exit(stopped_by(stopped.number))
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


def _refused(sentence: str) -> int:
    log.error(sentence)
    return MISTAKE
