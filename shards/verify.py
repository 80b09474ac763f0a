"""Finding damage in a shard set."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from shards.description import MADE, SET, Shard, read_description, read_digested
from shards.errors import UserError
from shards.files import file_sha256, printable
from shards.index import ShardSet
from shards.process_pool import in_order
from shards.progress import progress_bar
from shards.sources.records import Ignored, Refused
from shards.sources.samples import Sample, samples
from shards.sources.tar_files import tar_files

# Findings of one shard that are told one by one.
_SHOWN = 20


def verify(root: Path, workers: int = 1) -> list[str]:
    """Compare every byte of a set with its hashes, and every sample with the index.

    Args:
        root: folder of the set.
        workers: processes.

    Returns:
        One sentence a finding, naming shard and sample; empty where the set is whole.
    """
    try:
        description = read_description(root)
    except UserError as error:
        return [str(error)]
    findings = check_index(root)
    with progress_bar("verifying", sum(shard.size for shard in description.shards)) as advance:
        checked = check_shards(root, range(len(description.shards)), workers)
        for shard, found in zip(description.shards, checked, strict=True):
            findings += found
            advance(shard.samples, shard.size)
    return findings


def check_index(root: Path) -> list[str]:
    """Return the findings of a set that belong to no shard.

    Raises:
        UserError: it has no set.json that can be read.
    """
    description = read_description(root)
    findings = [*_made(root, description.digest), *_extra(root, description.shards)]
    try:
        ShardSet.open(root)
    except UserError as error:
        findings.append(str(error))
    return findings


def check_shards(root: Path, numbers: Sequence[int], workers: int = 1) -> Iterator[list[str]]:
    """Yield the findings of each of these shards, compared with its hash and, where there is a sound one, with the index.

    Raises:
        UserError: the set has no set.json that can be read.
    """
    shards = read_description(root).shards
    try:
        opened = ShardSet.open(root)
        checks = (_check_of(opened, number) for number in numbers)
    except UserError:
        checks = (_Check(root / shards[number].name, shards[number], None) for number in numbers)
    yield from in_order(_check_shard, checks, workers)


@dataclass(frozen=True)
class _Expected:
    """A shard's part of the index: rows, keys, and the names that each row's class may be written as."""

    records: NDArray[np.void]
    keys: list[str]
    classes: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class _Check:
    path: Path
    shard: Shard
    expected: _Expected | None


def _check_of(opened: ShardSet, number: int) -> _Check:
    first, last = np.searchsorted(opened.records["shard"], [number, number + 1])
    keys = [opened.key(sample) for sample in range(first, last)]
    expected = _Expected(np.array(opened.records[first:last]), keys, opened.classes, opened.splits)
    return _Check(opened.root / opened.shards[number].name, opened.shards[number], expected)


def _made(root: Path, digest: str) -> Iterator[str]:
    path = root / MADE
    if not path.is_file():  # a WebDataset that was written elsewhere has none
        return
    try:
        made = read_digested(path)
    except UserError as error:
        yield str(error)
        return
    if made.get("set") != digest:
        yield f"{path} tells how another state of the set was made: remove it if the tars were changed on purpose"


def _extra(root: Path, shards: tuple[Shard, ...]) -> Iterator[str]:
    known = {shard.name for shard in shards}
    yield from (f"{printable(path)} is not in {SET}" for path in tar_files(root) if path.name not in known)


def _check_shard(check: _Check) -> list[str]:
    """Return the findings of one shard."""
    path, shard = check.path, check.shard
    if not path.is_file():
        return [f"{path} is missing"]
    try:
        size, sha256 = path.stat().st_size, file_sha256(path)
        found = [] if check.expected is None else [*_images(path, check.expected), *_samples(path, check.expected)]
    except OSError as error:
        return [f"{path} cannot be read ({error.strerror})"]
    if size != shard.size:
        found.insert(0, f"{path} has {size} bytes, not the {shard.size} that were packed")
    elif sha256 != shard.sha256 and not found:
        found.append(f"{path} has changed outside any image: in a header, in padding, or in something the index does not hold")
    more = [f"{path} has {len(found) - _SHOWN} findings more"] if len(found) > _SHOWN else []
    return found[:_SHOWN] + more


def _images(path: Path, expected: _Expected) -> Iterator[str]:
    """Compare the image bytes, where the index says they are, with their checksums."""
    with path.open("rb", buffering=0) as file:
        for row, key in zip(expected.records, expected.keys, strict=True):
            data = os.pread(file.fileno(), int(row["length"]), int(row["offset"]))
            if xxhash.xxh3_64_intdigest(data) != row["checksum"]:
                yield f"{path}: sample {printable(key)}: its image bytes are not those that were packed"


def _samples(path: Path, expected: _Expected) -> Iterator[str]:
    """Compare what the tar says of its samples with the index."""
    waiting = {int(offset): place for place, offset in enumerate(expected.records["offset"])}
    try:
        for sample in samples(path):
            if isinstance(sample, Refused):
                yield f"{path}: sample {sample.path} {sample.reason}"
            elif isinstance(sample, Sample):
                place = waiting.pop(sample.image.offset, None)
                what = "is not in the index" if place is None else _disagreement(sample, expected, place)
                if what:
                    yield f"{path}: sample {printable(sample.key)}: {what}"
            else:
                assert isinstance(sample, Ignored)
    except UserError as error:
        yield str(error)
    else:
        yield from (f"{path}: sample {printable(expected.keys[place])} is only in the index" for place in waiting.values())


def _disagreement(sample: Sample, expected: _Expected, place: int) -> str | None:
    row = expected.records[place]
    label, split = int(row["label"]), expected.splits[int(row["split"])]
    if sample.key != expected.keys[place]:
        return f"the index calls it {printable(expected.keys[place])}"
    if sample.image.size != row["length"]:
        return f"has {sample.image.size} bytes, the index says {row['length']}"
    # Tars written elsewhere may name classes where this package writes numbers, or tell them and splits by folders alone.
    told = [sample.class_text] if sample.class_text else sample.folder.split("/")
    if not {str(label), expected.classes[label]}.intersection(told):
        return f"its class is {printable('/'.join(told))}, the index says {label} ({printable(expected.classes[label])})"
    if sample.split and sample.split != split:
        return f"its split is {printable(sample.split)!r}, the index says {split!r}"
    return None
