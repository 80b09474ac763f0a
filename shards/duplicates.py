"""Images that occur more than once, found by sorting a column of the index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.index import ShardSet

SHOWN = 10


@dataclass(frozen=True)
class Duplicates:
    """Images that occur earlier in a set too.

    Attributes:
        exact: how many have the same bytes as an earlier one.
        across_classes: how many of those belong to another class than the one before them.
        pairs: keys of the first pairs across classes.
        near: how many have the difference hash of an earlier one, but other bytes.
    """

    exact: int
    across_classes: int
    pairs: tuple[tuple[str, str], ...]
    near: int


def find_duplicates(shards: ShardSet) -> Duplicates:
    """Compare all images of a set by checksum and length, and by difference hash."""
    records = shards.records
    first, second = _equal_neighbours(records["checksum"])
    same = records["length"][first] == records["length"][second]
    first, second = first[same], second[same]
    across = records["label"][first] != records["label"][second]
    pairs = list(zip(first[across][:SHOWN], second[across][:SHOWN], strict=True))
    looks_first, looks_second = _equal_neighbours(records["phash"])
    # A picture of one colour has hash 0, and says nothing.
    near = (records["checksum"][looks_first] != records["checksum"][looks_second]) & (records["phash"][looks_first] != 0)
    keys = tuple((shards.key(int(a)), shards.key(int(b))) for a, b in pairs)
    return Duplicates(len(first), int(across.sum()), keys, int(near.sum()))


def _equal_neighbours(column: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(column, kind="stable")
    equal = column[order[1:]] == column[order[:-1]]
    return order[:-1][equal], order[1:][equal]
