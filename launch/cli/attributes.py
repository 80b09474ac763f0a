"""`dsva attributes`: make attribute tables with a CLIP model, bring tables in, look at them."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from launch import voice
from shards.errors import UserError

# Imports of torch and what needs it stay inside the commands, so that `--help` starts fast.
# ruff: noqa: PLC0415

app = typer.Typer(help="Attribute tables: how strongly each attribute is visible in each class.", no_args_is_help=True)

TableFile = Annotated[Path, typer.Argument(help="Attribute table: .json, .csv or .mat.", show_default=False)]


class Mode(StrEnum):
    """What rows are made from."""

    TEXT = "text"
    SENTENCES = "sentences"
    SEEN_IMAGES = "seen-images"
    EXEMPLARS = "exemplars"


class Rows(StrEnum):
    """What is done to rows in the end."""

    RAW = "raw"
    STANDARDISED = "standardised"
    L2 = "l2"


@app.command()
def build(
    clip: Annotated[str, typer.Option(help="CLIP model with safetensors weights: a folder, or a hub id.", show_default=False)],
    classes: Annotated[
        Path,
        typer.Option(help="Shard set, JSON file of class splits, or YAML file `Class: description`.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="JSON file to write.", show_default=False)],
    vocabulary: Annotated[
        list[Path] | None, typer.Option(help="YAML file of attributes and prompts; may be repeated.", show_default=False)
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Class split: a name in the JSON file, `own`, or `random:SEED:UNSEEN`.", show_default=False)
    ] = None,
    shards: Annotated[Path | None, typer.Option(help="Shard set of the images, if --classes is none.", show_default=False)] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="text: class prompts against attribute prompts. sentences: the class prompts' embeddings themselves, without "
            "attributes. seen-images: training images of seen classes, unseen rows "
            "predicted from text. exemplars: images of unseen classes too, which is not zero-shot."
        ),
    ] = Mode.TEXT,
    rows: Annotated[
        Rows, typer.Option(help="standardised: by mean and deviation of the seen classes; l2: rows of length 1.")
    ] = Rows.STANDARDISED,
    exemplars: Annotated[int, typer.Option(help="Images of each unseen class, in that mode.", min=1, max=1000)] = 5,
    seen_test_share: Annotated[float, typer.Option(help="As classes.seen_test_share of the run.", min=0, max=0.99)] = 0.2,
) -> None:
    """Make an attribute table with a CLIP model; the file says how, and training refuses it where that would be a leak.

    Where rows depend on which classes are seen, the file also holds those for the three validation partitions.
    """
    import torch

    from dsva.attributes.build import Recipe
    from dsva.attributes.build import build as build_table
    from dsva.attributes.classes import wanted
    from dsva.attributes.vocabulary import PLAIN, read_vocabularies
    from dsva.model.prompts import TextTower

    _check_out(out)
    if not vocabulary and mode is not Mode.SENTENCES:
        raise UserError(f"--mode={mode.value} asks for attributes: give --vocabulary, such as configs/attributes/overhead.yaml")
    words = read_vocabularies(vocabulary) if vocabulary else PLAIN
    chosen = wanted(classes, shards, split, seen_test_share)
    tower = TextTower.load(clip, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    table = build_table(tower, clip, words, chosen, Recipe(mode.value, rows.value, exemplars))
    table.write(out)
    voice.show(f"{out}: {len(table.classes)} classes x {len(table.names)} attributes; {table.meaning}")


@app.command()
def show(
    table: TableFile, png: Annotated[Path | None, typer.Option(help="Draw it into this file too.", show_default=False)] = None
) -> None:
    """Show a table as a heat map, and which classes it describes alike."""
    from dsva.attributes.show import draw_table, shown
    from dsva.protocol.attribute_table import load

    read = load(table)
    voice.show(*shown(read))
    if png:
        draw_table(read, png)
        voice.show(f"drawn: {png}")


@app.command(name="import")
def import_table(table: TableFile, out: Annotated[Path, typer.Argument(help="JSON file to write.", show_default=False)]) -> None:
    """Write a table from a .mat or .csv file, such as the authors' or Xian et al.'s, as JSON."""
    from dsva.protocol.attribute_table import load

    _check_out(out)
    read = load(table)
    replace(read, meaning=read.meaning or f"imported from {table.name}").write(out)
    voice.show(f"{out}: {len(read.classes)} classes x {len(read.names)} attributes")


def _check_out(out: Path) -> None:
    if out.suffix.lower() != ".json":
        raise UserError(f"{out} does not end in .json, the form of a table: rename it")
    if not out.parent.is_dir():
        raise UserError(f"{out} cannot be written, there is no folder {out.parent}: make it first")
