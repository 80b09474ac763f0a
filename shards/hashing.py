"""Chance as hashes of integers: pure functions of (seed, use, number), without state.

numpy's own shuffles are not used because their streams may change between numpy releases. Only initial weights (torch's
generator, seeded) and the scenes that `dsva.demo` draws come from generators.
"""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

# One number per use of randomness, so that no two uses ever share a stream.
SHUFFLE, BLOCKS, WAYS, SHOTS, AUGMENT, HOLD_OUT, SCENES, GALLERY, BASELINE, CLASS_SPLIT, BOOTSTRAP, EXEMPLARS = range(12)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashes(*words: int | NDArray[np.integer]) -> Hashes:
    """Hash integers to uniform uint64, elementwise over broadcast arrays (splitmix64, Steele et al. 2014)."""
    state = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for word in words:
            state = (state ^ np.asarray(word).astype(np.uint64)) + _GOLDEN
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return np.asarray(state)


def uniform(*words: int | NDArray[np.integer]) -> NDArray[np.float64]:
    """Hash integers to uniform floats in [0, 1), elementwise over broadcast arrays."""
    return (hashes(*words) >> np.uint64(11)).astype(np.float64) * 2.0**-53
