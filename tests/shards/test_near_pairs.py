"""Pairs of hashes within a distance, and what they say."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards import difference_hashes as near
from shards.difference_hashes import Pairs, alike_pairs, bounded, near_pairs


def random_hashes(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 64, count, np.uint64)


def with_neighbours(hashes: np.ndarray, seed: int) -> np.ndarray:
    """The hashes, each with 0 to 12 bits changed."""
    rng = np.random.default_rng(seed)
    masks = [sum(1 << int(bit) for bit in rng.choice(64, place % 13, replace=False)) for place in range(len(hashes))]
    return hashes ^ np.array(masks, np.uint64)


def compared(first: np.ndarray, second: np.ndarray, distance: int) -> list[tuple[int, int, int]]:
    bits = np.bitwise_count(first[:, None] ^ second[None])
    return [(int(i), int(j), int(bits[i, j])) for i, j in np.argwhere(bits <= distance)]


def listed(pieces: Iterable[Pairs]) -> list[tuple[int, int, int]]:
    return sorted(pair for piece in pieces for pair in zip(*(column.tolist() for column in piece), strict=True))


@pytest.mark.parametrize("way", [near._direct, near._banded])
@pytest.mark.parametrize("distance", [0, 3, 4, 10, 13])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99), piece=st.sampled_from([7, 1 << 20]))
def test_each_pair_is_found_once(way: Callable[..., Iterator[Pairs]], distance: int, seed: int, piece: int) -> None:
    first = random_hashes(20, seed)
    second = np.concatenate([with_neighbours(first, seed), first[:3], random_hashes(9, seed + 1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "PIECE", piece)
        assert listed(way(first, second, distance)) == compared(first, second, distance)


@pytest.mark.parametrize(("many", "few"), [(0, 5), (5, 0), (40_000, 50), (50, 40_000)])
def test_the_way_depends_on_how_many_there_are_and_the_pairs_do_not(many: int, few: int) -> None:
    first = random_hashes(many, 0)
    second = random_hashes(few, 1)
    shared = min(many, few)
    second[:shared] = with_neighbours(first[:shared], 2)
    found = listed(near_pairs(first, second, 10))
    assert found == sorted(compared(first, second, 10))
    assert len(found) >= sum(place % 13 <= 10 for place in range(shared))


def test_hashes_of_plain_pictures_say_little() -> None:
    shore, scene = 0x0707_0707_0707_0707, 0x0F3C_55AA_6996_1248
    hashes = np.array([0, 0, shore, shore ^ 1, scene, scene ^ 0x0101_0101_0101_0101], np.uint64)
    assert listed(near_pairs(hashes[:4], hashes[:4], 1))[:2] == [(0, 0, 0), (0, 1, 0)]
    assert [pair for pair in listed(alike_pairs(hashes, hashes, 10)) if pair[0] < pair[1]] == [(4, 5, 8)]


def test_the_distance_is_bounded_by_what_chance_brings() -> None:
    pairs = 3_000 * 100_000
    found = [len(listed(near_pairs(random_hashes(3_000, 0), random_hashes(100_000, 1), bits))) for bits in (10, 12)]
    assert found[0] < found[1]
    assert bounded(12, pairs, found[1] * 2) == 12 > bounded(12, pairs, found[1] // 2)
    assert [bounded(16, count**2, 20_000) for count in (1, 3_600, 100_000, 1_000_000, 10**9)] == [16, 16, 13, 10, 3]
