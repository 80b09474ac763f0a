"""Commands that train many runs: `dsva choose`, values by validation classes; `dsva ablate`, with and without parts."""

from pathlib import Path
from typing import Annotated

import typer

from dsva.config import HeadName
from launch import voice
from shards.errors import UserError

# Imports of torch and what needs it stay inside the commands, so that `--help` starts fast.
# ruff: noqa: PLC0415


def choose(
    config: Annotated[Path, typer.Argument(help="YAML file of the final run, such as configs/aid_25_5.yaml.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values to change, as section.key=value.", show_default=False)
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Values to try, as section.key=A,B,C; may be repeated, and all combinations are tried.", show_default=False
        ),
    ] = None,
    head: Annotated[HeadName, typer.Option(help="Whose scores decide.")] = "proto",
) -> None:
    """Choose values, and gamma, on three partitions of the seen classes, never on the test; the same command again continues.

    Writes chosen.yaml into run.dir, for `dsva train` to train on all seen classes.
    """
    from dsva.studies.choice import choose as choose_values

    table, chosen = choose_values(config, overrides or [], _grid(vary or []), head)
    voice.show(table, f"train what was chosen on all seen classes: dsva train {chosen}")


def ablate(
    config: Annotated[Path, typer.Argument(help="YAML file, such as configs/aid_25_5.yaml.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(help="Values to change, as section.key=value.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each variant, with seeds counted from run.seed.", min=1, max=100)] = 1,
) -> None:
    """Train an experiment with and without its parts and make the table; the same command again continues.

    The runs lie below run.dir, one after the other in this process; the table is ablation.md there.
    """
    from dsva.studies.ablation import ablate as ablate_experiment

    table, target = ablate_experiment(config, overrides or [], seeds)
    voice.show(table, f"written: {target}")


def _grid(given: list[str]) -> dict[str, list[str]]:
    grid: dict[str, list[str]] = {}
    for text in given:
        key, _, values = text.partition("=")
        grid[key] = [value for value in values.split(",") if value]
        if not grid[key]:
            raise UserError(f"--vary {text} is not of the form section.key=A,B,C, such as train.steps=200,400")
    return grid
