"""Training images that look like a test image, by the difference hashes that packing put into the index."""

import numpy as np
from numpy.typing import NDArray

from shards.difference_hashes import alike_pairs, near_pairs
from shards.index import ShardSet
from shards.order import Ids

_NONE = np.iinfo(np.int64).max


def near(data: ShardSet, train: Ids, test: Ids, distance: int, telling: bool = False) -> NDArray[np.int64]:
    """Return, for each training image, a test image whose 64-bit hash differs in at most `distance` bits, or -1; [len(train)].

    A picture of one colour has hash 0, which says nothing, and is near to none. With `telling`, pairs count only whose hashes
    tell scenes apart, see `shards.difference_hashes.alike_pairs`.
    """
    column = data.records["phash"].astype(np.uint64)
    tests = test[np.unique(column[test], return_index=True)[1]]
    tests = tests[column[tests] != 0]
    looks, place = np.unique(column[train], return_inverse=True)
    closest = np.full(len(looks), _NONE)
    for first, second, bits in (alike_pairs if telling else near_pairs)(looks, column[tests], distance):
        said = looks[first] != 0
        # Of several the one with the fewest bits, then the first.
        np.minimum.at(closest, first[said], (bits[said].astype(np.int64) << 32) + second[said])
    found = np.full(len(looks), -1)
    met = closest < _NONE
    found[met] = tests[closest[met] & 0xFFFFFFFF]
    return found[place]
