"""An index from the tars alone: for a set whose index was lost, and for WebDatasets that were written elsewhere."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import xxhash
from rich.console import Console

from shards.description import INDEX, KEYS, MADE, SET, Shard, write_description
from shards.errors import UserError
from shards.files import file_sha256, printable, sync
from shards.fragments import Fragment, finished, join
from shards.images import MAX_PIXELS, BadImage, inspect
from shards.index import ShardSet
from shards.jobs import in_order
from shards.merge import split_places
from shards.progress import progress_bar
from shards.sources.records import Refused, name_refusal, size_refusal
from shards.sources.samples import ClassNames, Sample, samples
from shards.sources.tars import tar_files

_SHOWN = 3


def rebuild(root: Path, *, workers: int = 1, max_pixels: int = MAX_PIXELS, console: Console | None = None) -> ShardSet:
    """Write index.bin, keys.txt and set.json for the tars in a folder, and open the set.

    The new files are made beside the old ones and renamed at the end, set.json last; a crash between
    the renames is noticed by `ShardSet.open`, and mended by another rebuild.

    Args:
        root: folder with plain tars directly in it.
        workers: processes.
        max_pixels: refuse images with more.
        console: shows progress.

    Raises:
        UserError: there is no tar, one is damaged, or a sample has no usable image or class.
    """
    tars = tar_files(root)
    if not tars:
        raise UserError(f"{root} has no .tar file: give a folder of WebDataset tars")
    try:
        with _beside(root) as folder:
            _scan_all(tars, folder, workers, max_pixels, console)
            _write(folder, len(tars))
            for name in (INDEX, KEYS, SET):
                (folder / name).replace(root / name)
            sync(root)
    except OSError as error:
        raise UserError(f"the index of {root} cannot be rebuilt ({error}): mend that and try again") from error
    return ShardSet.open(root)


@contextmanager
def _beside(root: Path) -> Iterator[Path]:
    folder = root / ".index.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _scan_all(tars: list[Path], folder: Path, workers: int, max_pixels: int, console: Console | None) -> None:
    sizes = [path.stat().st_size for path in tars]
    with progress_bar(console, "indexing", sum(sizes)) as advance:
        job = partial(_scan, folder, max_pixels)
        for count, size in zip(in_order(job, enumerate(tars), workers), sizes, strict=True):
            advance(count, size)


def _scan(folder: Path, max_pixels: int, numbered: tuple[int, Path]) -> int:
    """Write the fragment of one tar, whose classes are pairs of class text and folder, and return how many images it has."""
    number, path = numbered
    fragment = Fragment()
    with path.open("rb", buffering=0) as file:
        for sample in samples(path):
            if isinstance(sample, Refused):
                fragment.bad.append(sample)
            elif isinstance(sample, Sample):
                _add(fragment, path, file.fileno(), sample, max_pixels)
    fragment.write(folder, number, Shard(path.name, path.stat().st_size, len(fragment), file_sha256(path)))
    return len(fragment)


def _add(fragment: Fragment, path: Path, descriptor: int, sample: Sample, max_pixels: int) -> None:
    image = sample.image
    try:
        if reason := name_refusal(sample.key, sample.class_text, sample.split) or size_refusal(image.size):
            raise BadImage(reason)
        data = os.pread(descriptor, image.size, image.offset)
        facts = inspect(data, max_pixels)
    except BadImage as error:
        fragment.bad.append(Refused(f"{printable(path.name)}: {printable(sample.key)}", str(error)))
        return
    told = f"{sample.class_text}/{sample.folder}"
    fragment.add(sample.key, told, sample.split, offset=image.offset, data=data, facts=facts)


def _write(folder: Path, count: int) -> None:
    bad = [image for fragment in finished(folder, count) for image in fragment.bad]
    if bad:
        first = "; ".join(f"{image.path} {image.reason}" for image in bad[:_SHOWN])
        raise UserError(f"{len(bad)} samples cannot be indexed ({first}): pack the folder into a new set with --skip-bad")
    told: set[str] = set()
    splits: set[str] = set()
    classes = ClassNames()
    for fragment in finished(folder, count):
        told |= fragment.classes.keys()
        splits |= fragment.splits.keys()
    for pair in told:
        text, _, place = pair.partition("/")
        classes.add(text, place)
    names = classes.names()
    if not names:
        raise UserError(f"the tars in {folder.parent} hold no JPEG, PNG or TIFF image")
    if classes.folders() is None and (folder.parent / MADE).exists():
        raise UserError(f"the .cls files of {folder.parent} disagree with its folders, so a tar is damaged: fetch or pack it again")
    labels = {text: label for label, text in enumerate(names)}
    places = split_places(splits)
    shards = join(folder, count, folder, {pair: labels[pair.partition("/")[0]] for pair in told}, places)
    _refuse_same_keys(folder / KEYS)
    turned = sum(fragment.turned for fragment in finished(folder, count))
    write_description(folder, names.values(), places, shards, sum(shard.samples for shard in shards), turned)


def _refuse_same_keys(keys: Path) -> None:
    """Raise a UserError if two lines are the same; 8 bytes a line in memory."""
    with keys.open("rb") as file:
        hashes = np.sort(np.fromiter(map(xxhash.xxh3_64_intdigest, file), np.uint64))
    twice = hashes[1:][hashes[1:] == hashes[:-1]]
    if len(twice):
        with keys.open("rb") as file:
            key = next(line for line in file if xxhash.xxh3_64_intdigest(line) == twice[0])
        name = printable(key.decode().rstrip("\n"))
        raise UserError(f"{len(twice)} samples have a key that another has too ({name}): pack the folder into a new set")
