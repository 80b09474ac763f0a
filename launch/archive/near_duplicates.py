"""`dsva shards near`: images of sets that show the same scene, to be looked at."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from launch import voice
from shards.errors import UserError
from shards.index import ShardSet
from shards.near_duplicates import near_duplicates

DISTANCE = 16  # bits; the pixels are compared too, so that more may differ than where the hashes alone decide

log = logging.getLogger(__name__)

Folders = Annotated[list[Path], typer.Argument(help="Shard sets; of several, pairs between different ones.", show_default=False)]


def near(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and pairs.csv.")] = Path("near-duplicates"),
    distance: Annotated[int, typer.Option(help="Bits of 64 in which the hashes of a pair may differ.", min=0, max=24)] = DISTANCE,
    shown: Annotated[int, typer.Option(help="Pairs that are drawn, at most.", min=0)] = 480,
    workers: Annotated[int, typer.Option(help="Threads.", min=1, max=256)] = 2,
) -> None:
    """Find near duplicates in a shard set, or between several: the same scene cropped, scaled, moved or encoded again.

    Contact sheets show the pairs side by side, those with the nearest hashes first, and mark those of different classes; pairs.csv
    lists all, with those that the comparison of the pixels has turned down.
    """
    from dsva.files import write_atomically  # noqa: PLC0415 (`dsva --help` draws nothing)
    from dsva.report.pairs import PairListing  # noqa: PLC0415

    out.mkdir(parents=True, exist_ok=True)  # what cannot be written is found now, not after the work
    sets = [ShardSet.open(folder) for folder in folders]
    if len({shards.digest for shards in sets}) < len(sets):
        raise UserError(f"{' and '.join(map(str, folders))} hold a set twice: give it once to compare its images with each other")
    pairs, within = near_duplicates(sets, distance, workers)
    if within < distance:
        log.warning("too many pairs are within %d bits: all within %d are compared", distance, within)
    listing = PairListing(sets, pairs)
    write_atomically(out / "pairs.csv", listing.csv())
    sheets = listing.draw(out, shown)
    same = [pair for pair in listing.pairs if pair.same_scene]
    exact, differ = sum(pair.exact for pair in same), sum(map(listing.classes_differ, same))
    voice.show(f"pairs of the same scene: {len(same):,}; of them exact copies: {exact:,}, of different classes: {differ:,}")
    voice.show(f"pairs with alike hashes (within {within} of 64 bits) but other pixels: {len(listing.pairs) - len(same):,}")
    drawn = f"near-001.png to {sheets[-1].name} with the first {min(shown, len(same)):,} pairs, and " if sheets else ""
    voice.show(f"written: {drawn}pairs.csv with all, in {out}")
