"""Shard sets in memory, for tests that need the index but no image."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xxhash

from shards.description import Shard
from shards.index import RECORD, ShardSet


def shard_set(
    images: Sequence[tuple[str, bytes]], splits: Sequence[str] = ("",), split_of: Callable[[str], int] = lambda _: 0
) -> ShardSet:
    """An index, without tars, of (class/name, content) pairs."""
    classes = tuple(sorted({key.split("/")[0] for key, _ in images}))
    records = np.zeros(len(images), RECORD)
    lines = [f"{key}\n".encode() for key, _ in images]
    records["key"] = np.cumsum([0, *map(len, lines[:-1])])
    records["label"] = [classes.index(key.split("/")[0]) for key, _ in images]
    records["checksum"] = [xxhash.xxh3_64_intdigest(content) for _, content in images]
    records["split"] = [split_of(key) for key, _ in images]
    keys = np.frombuffer(b"".join(lines), np.uint8)
    return ShardSet(Path("SET"), classes, tuple(splits), (Shard("s.tar", 1, len(images), ""),), records, "digest", keys)
