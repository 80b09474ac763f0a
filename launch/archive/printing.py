"""What `dsva pack` and `dsva shards` print."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shards.duplicates import Duplicates
from shards.errors import UserError
from shards.index import ShardSet
from shards.info import info
from shards.merge import PackReport
from shards.sources.walk import told

SHOWN = 10


def print_packed(packed: PackReport, console: Console) -> None:
    """Say what was packed, what was left out, and which images occur twice."""
    for refused in packed.skipped[:SHOWN]:
        console.print(f"skipped {refused.path}: {refused.reason}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if len(packed.skipped) > SHOWN:
        console.print(f"... {len(packed.skipped)} images skipped in all: made.json lists them", style="yellow")
    if packed.ignored:
        console.print(f"no images: {told(Counter(packed.ignored))}", highlight=False, markup=False, soft_wrap=True)
    for note in packed.notes:
        console.print(f"note: {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    made = packed.shards
    if made.turned:
        console.print(f"{made.turned:,} images are turned upright, as their orientation tags say", highlight=False)
    _print_duplicates(made.root, packed.duplicates, console)
    console.print(
        f"{made.root}: {len(made):,} images of {len(made.classes)} classes in {len(made.shards)} shards",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def print_findings(folder: Path, findings: Sequence[str], console: Console) -> None:
    """List what verifying a set found to be wrong with it.

    Raises:
        UserError: something is.
    """
    for finding in findings:
        console.print(f"[red]damaged[/] {escape(finding)}", highlight=False, soft_wrap=True)
    if findings:
        raise UserError(
            f"{folder}: {len(findings)} kinds of damage: pack the set again, or restore the shards and run `dsva shards index`"
        )
    console.print(f"{folder}: every byte is as it was packed", markup=False, soft_wrap=True)


def print_info(folder: Path, console: Console) -> None:
    """Show what a set holds."""
    facts = info(ShardSet.open(folder))
    table = Table("class", "images", title=escape(f"{folder}"), title_justify="left")
    for name, count in facts.classes.items():
        table.add_row(escape(name), f"{count:,}")
    console.print(table)
    sides = [f"{low}" if low == high else f"{low} to {high}" for low, high in (facts.width, facts.height)]
    lines = {
        "images": f"{facts.samples:,}, {sides[0]} x {sides[1]} pixels",
        "shards": f"{facts.shards}, {facts.tar_bytes / 2**20:,.1f} MiB, of which images {facts.image_bytes / 2**20:,.1f} MiB",
        "splits": ", ".join(f"{name or 'none named'}: {count:,}" for name, count in facts.splits.items()),
        "digest": facts.digest,
    }
    for name, value in lines.items():
        console.print(f"{name:7} {value}", highlight=False, markup=False)
    _print_duplicates(folder, facts.duplicates, console)


def _print_duplicates(root: Path, found: Duplicates, console: Console) -> None:
    if found.exact:
        console.print(
            f"{found.exact} images have the bytes of another, {found.across_classes} of them in another class", style="yellow"
        )
    for first, second in found.pairs[:SHOWN]:
        console.print(f"  {first} = {second}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if found.near:
        bits = f"difference hash within {found.distance} of 64 bits" if found.distance else "equal difference hash"
        sentence = f"{found.near} images look like another ({bits}, other bytes): `dsva shards near {root}` shows them"
        console.print(sentence, style="yellow", highlight=False, markup=False, soft_wrap=True)
