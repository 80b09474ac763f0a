"""What `dsva pack` and `dsva shards` print."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dsva.tables import Table
from launch import voice
from shards.duplicates import Duplicates
from shards.errors import UserError
from shards.index import ShardSet
from shards.info import info
from shards.merge import PackReport
from shards.sources.walk import told

SHOWN = 10
log = logging.getLogger(__name__)


def print_packed(packed: PackReport) -> None:
    """Say what was packed, what was left out, and which images occur twice."""
    for refused in packed.skipped[:SHOWN]:
        log.warning("skipped %s: %s", refused.path, refused.reason)
    if len(packed.skipped) > SHOWN:
        log.warning("... %d images skipped in all: made.json lists them", len(packed.skipped))
    if packed.ignored:
        log.info("no images: %s", told(Counter(packed.ignored)))
    for note in packed.notes:
        log.info("note: %s", note)
    made = packed.shards
    if made.turned:
        log.info(f"{made.turned:,} images are turned upright, as their orientation tags say")
    _print_duplicates(made.root, packed.duplicates)
    voice.show(f"{made.root}: {len(made):,} images of {len(made.classes)} classes in {len(made.shards)} shards")


def print_findings(folder: Path, findings: Sequence[str]) -> None:
    """List what verifying a set found to be wrong with it.

    Raises:
        UserError: something is.
    """
    for finding in findings:
        voice.show(f"damaged {finding}")
    if findings:
        raise UserError(
            f"{folder}: {len(findings)} kinds of damage: pack the set again, or restore the shards and run `dsva shards index`"
        )
    voice.show(f"{folder}: every byte is as it was packed")


def print_info(folder: Path) -> None:
    """Show what a set holds."""
    facts = info(ShardSet.open(folder))
    voice.show(Table(f"{folder}", ("class", "images"), [(name, f"{count:,}") for name, count in facts.classes.items()]))
    sides = [f"{low}" if low == high else f"{low} to {high}" for low, high in (facts.width, facts.height)]
    lines = {
        "images": f"{facts.samples:,}, {sides[0]} x {sides[1]} pixels",
        "shards": f"{facts.shards}, {facts.tar_bytes / 2**20:,.1f} MiB, of which images {facts.image_bytes / 2**20:,.1f} MiB",
        "splits": ", ".join(f"{name or 'none named'}: {count:,}" for name, count in facts.splits.items()),
        "digest": facts.digest,
    }
    for name, value in lines.items():
        voice.show(f"{name:7} {value}")
    _print_duplicates(folder, facts.duplicates)


def _print_duplicates(root: Path, found: Duplicates) -> None:
    if found.exact:
        voice.show(f"{found.exact} images have the bytes of another, {found.across_classes} of them in another class")
    for first, second in found.pairs[:SHOWN]:
        voice.show(f"  {first} = {second}")
    if found.near:
        bits = f"difference hash within {found.distance} of 64 bits" if found.distance else "equal difference hash"
        voice.show(f"{found.near} images look like another ({bits}, other bytes): `dsva shards near {root}` shows them")
