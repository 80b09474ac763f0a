"""Training images that look like a test image, by the difference hashes that packing put into the index."""

import numpy as np
from numpy.typing import NDArray

from shards.index import ShardSet
from shards.order import Ids

PAIRS = 1 << 24  # hashes compared at a time


def near(data: ShardSet, train: Ids, test: Ids, distance: int) -> NDArray[np.int64]:
    """Return, for each training image, a test image whose 64-bit hash differs in at most `distance` bits, or -1; [len(train)].

    A picture of one colour has hash 0, which says nothing, and is near to none.
    """
    hashes = data.records["phash"].astype(np.uint64)
    tests = test[np.unique(hashes[test], return_index=True)[1]]
    tests = tests[hashes[tests] != 0]
    found = np.full(len(train), -1)
    if len(tests) == 0:
        return found
    if distance == 0:  # by looking up, which no archive is too large for
        places = np.searchsorted(hashes[tests], hashes[train]).clip(max=len(tests) - 1)
        return np.where(hashes[tests[places]] == hashes[train], tests[places], -1)
    rows = max(PAIRS // len(tests), 1)
    for start in range(0, len(train), rows):
        mine = hashes[train[start : start + rows]]
        bits = np.bitwise_count(mine[:, None] ^ hashes[tests][None])
        closest = bits.argmin(1)
        inside = (bits[np.arange(len(mine)), closest] <= distance) & (mine != 0)
        found[start : start + rows][inside] = tests[closest[inside]]
    return found
