"""Pictures that look alike, by their difference hashes.

Hashes within a distance of each other are found by multi-index hashing (M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming
Space with Multi-Index Hashing", CVPR 2012): of 4 bands of 16 bits, one at least differs in no more than a quarter of that distance,
and such bands are looked up.
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

DISTANCE = 10  # bits of 64; benchmarks/near_copies.py measures what it finds
PIECE = 1 << 20  # pairs compared at a time

_BANDS, _BAND_BITS = 4, 16
_KEYS = 1 << _BAND_BITS
# Diagonals of the 8 x 8 bits: their bits depend least on each other, so that few hashes share a band.
_ORDER = np.argsort(np.add.outer(np.arange(8), np.arange(8)).ravel() % _BANDS, kind="stable")


class Pairs(NamedTuple):
    """Pairs of hashes: places in the first and in the second column, and the bits in which they differ; each [pairs]."""

    first: Places
    second: Places
    bits: NDArray[np.uint8]


def near_pairs(first: Hashes, second: Hashes, distance: int) -> Iterator[Pairs]:
    """Yield, in pieces, every pair of a hash in `first` and one in `second` that differ in at most `distance` bits."""
    if len(first) > len(second):  # the shorter one is looked up in the longer one
        yield from (Pairs(one, other, bits) for other, one, bits in near_pairs(second, first, distance))
        return
    looked_up = _BANDS * sum(comb(_BAND_BITS, count) for count in range(distance // _BANDS + 1)) * (1 + len(second) / _KEYS)
    # Looking a candidate up takes several times as long as comparing it in its place.
    yield from (_banded if 4 * looked_up < len(second) else _direct)(first, second, distance)


def alike_pairs(first: Hashes, second: Hashes, distance: int = DISTANCE) -> Iterator[Pairs]:
    """Yield the pairs of `near_pairs` that differ in fewer bits than the rows of either picture do among themselves.

    The rows of plain water, sand or a straight shore are all alike, and then so are the hashes of different scenes.
    """
    rows, other_rows = _between_rows(first), _between_rows(second)
    for pairs in near_pairs(first, second, distance):
        telling = pairs.bits < np.minimum(rows[pairs.first], other_rows[pairs.second])
        yield Pairs(pairs.first[telling], pairs.second[telling], pairs.bits[telling])


def bounded(distance: int, pairs: int, most: int) -> int:
    """Return the largest distance up to `distance` within which chance alone brings at most `most` of so many pairs of hashes."""
    by_chance = np.cumsum([comb(64, bits) / 2**64 for bits in range(distance + 1)])
    return max(int(np.searchsorted(by_chance * pairs, most, side="right")) - 1, 0)


def _between_rows(hashes: Hashes) -> NDArray[np.uint8]:
    """Return how many of the 56 bits that have another one below them differ from it."""
    changes: NDArray[np.uint8] = np.bitwise_count((hashes ^ (hashes >> np.uint64(8))) & np.uint64((1 << 56) - 1))
    return changes


def _direct(first: Hashes, second: Hashes, distance: int) -> Iterator[Pairs]:
    rows = max(PIECE // max(len(second), 1), 1)
    for start in range(0, len(first), rows):
        bits = np.bitwise_count(first[start : start + rows, None] ^ second[None])
        one, other = np.nonzero(bits <= distance)
        yield Pairs(start + one, other, bits[one, other])


def _banded(first: Hashes, second: Hashes, distance: int) -> Iterator[Pairs]:
    mine, others = _spread(first), _spread(second)
    for band in range(_BANDS):
        # Both in the order of the band: then neighbours in one look for neighbours in the other.
        keys, other_keys = _band(mine, band), _band(others, band)
        order, other_order = np.argsort(keys, kind="stable"), np.argsort(other_keys, kind="stable")
        starts = np.searchsorted(other_keys[other_order], np.arange(_KEYS + 1))
        sorted_mine, sorted_others, keys = mine[order], others[other_order], keys[order]
        for mask in _masks(distance // _BANDS):
            for one, other in _joined(keys ^ mask, starts):
                difference = sorted_mine[one] ^ sorted_others[other]
                bits = np.bitwise_count(difference)
                close = np.flatnonzero(bits <= distance)
                close = close[_first_met(difference[close], band, distance // _BANDS)]
                yield Pairs(order[one[close]], other_order[other[close]], bits[close])


def _joined(keys: Places, starts: Places) -> Iterator[tuple[Places, Places]]:
    """Yield, in pieces, the pairs of a place in `keys` and each place from starts[key] to starts[key + 1] - 1."""
    begin = starts[keys]
    counts = starts[keys + 1] - begin
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(PIECE, total, PIECE)).tolist()
    for low, high in zip([0, *cuts], [*cuts, len(keys)], strict=True):
        some = counts[low:high]
        one = np.repeat(np.arange(low, high), some)
        yield one, np.arange(len(one)) + np.repeat(begin[low:high] - np.cumsum(some) + some, some)


def _first_met(difference: Hashes, band: int, radius: int) -> NDArray[np.bool_]:
    """Return whether no earlier band has found the pair already."""
    first = np.ones(len(difference), bool)
    for earlier in range(band):
        first &= np.bitwise_count(_band(difference, earlier)) > radius
    return first


def _spread(hashes: Hashes) -> Hashes:
    """Return the hashes with their bits in another order, in which each band is 16 bits in a row."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    return np.packbits(np.ascontiguousarray(bits[:, _ORDER]), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _band(spread: Hashes, band: int) -> Places:
    return (spread >> np.uint64(_BAND_BITS * band)).astype(np.int64) & (_KEYS - 1)


def _masks(radius: int) -> Iterator[int]:
    """Yield every number of 16 bits of which at most `radius` are set."""
    for count in range(radius + 1):
        for places in combinations(range(_BAND_BITS), count):
            yield sum(1 << place for place in places)
