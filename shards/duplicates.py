"""Images that occur more than once, found by sorting and comparing columns of the index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.difference_hashes import DISTANCE, alike_pairs
from shards.index import ShardSet

SHOWN = 10
ALL_COMPARED = 100_000  # images of a set whose hashes are compared with each other in seconds


@dataclass(frozen=True)
class Duplicates:
    """Images that occur earlier in a set too.

    Attributes:
        exact: how many have the same bytes as an earlier one.
        across_classes: how many of those belong to another class than the one before them.
        pairs: keys of the first pairs across classes.
        near: how many look like another by their difference hash, but have other bytes; see `shards.difference_hashes.alike_pairs`.
        distance: bits in which the hashes of these may differ; 0 in a set that is too large to compare all with all.
    """

    exact: int
    across_classes: int
    pairs: tuple[tuple[str, str], ...]
    near: int
    distance: int


def find_duplicates(shards: ShardSet) -> Duplicates:
    """Compare all images of a set by checksum and length, and by difference hash."""
    records = shards.records
    first, second = exact_copies(records)
    across = records["label"][first] != records["label"][second]
    pairs = list(zip(first[across][:SHOWN], second[across][:SHOWN], strict=True))
    keys = tuple((shards.key(int(a)), shards.key(int(b))) for a, b in pairs)
    distance = DISTANCE if len(records) <= ALL_COMPARED else 0
    return Duplicates(len(first), int(across.sum()), keys, _near(records, distance), distance)


def exact_copies(records: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of an image and the next one with the same bytes, as places in the records of an index."""
    order = np.argsort(records["checksum"], kind="stable")
    one, other = order[:-1], order[1:]
    same = (records["checksum"][one] == records["checksum"][other]) & (records["length"][one] == records["length"][other])
    return one[same], other[same]


def _near(records: NDArray[np.void], distance: int) -> int:
    """Count the different contents that look like another one before them, in the order of their hashes."""
    contents = np.unique(records["checksum"], return_index=True)[1]
    looks, counts = np.unique(records["phash"][contents], return_counts=True)
    alike_before, alike_within = np.zeros((2, len(looks)), bool)
    for first, second, _ in alike_pairs(looks, looks, distance):
        alike_before[second[first < second]] = True
        alike_within[second[first == second]] = True
    return int(counts[alike_before].sum() + (counts - 1)[alike_within & ~alike_before].sum())
