"""Orders written out: a run that is continued with a later version must meet the images that it would have met."""

from collections.abc import Iterable

import numpy as np

from shards.hashing import (
    AUGMENT,
    BASELINE,
    BLOCKS,
    BOOTSTRAP,
    CLASS_SPLIT,
    EXEMPLARS,
    GALLERY,
    HOLD_OUT,
    SCENES,
    SHOTS,
    SHUFFLE,
    WAYS,
    hashes,
    uniform,
)
from shards.order import Episodes, Shifted, ShuffledEpochs, part


def test_streams_keep_their_numbers() -> None:
    named = SHUFFLE, BLOCKS, WAYS, SHOTS, AUGMENT, HOLD_OUT, SCENES, GALLERY, BASELINE, CLASS_SPLIT, BOOTSTRAP, EXEMPLARS
    assert named == tuple(range(12))


def splitmix(*words: int) -> int:
    """The hash, step by step, in whole numbers of Python."""
    state = 0
    for word in words:
        state = ((state ^ word) + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state


def by_hash(values: Iterable[int], *words: int) -> list[int]:
    """Sort whole numbers by the hash of some words and each."""
    return sorted(values, key=lambda value: splitmix(*words, value))


def test_hashes_are_those_of_splitmix64() -> None:
    assert splitmix(0) == 0xE220A8397B1DCDAF  # the first number of the published generator from state 0
    for words in ((0,), (7, 1, 2), (2**63 - 1, 12)):
        assert int(hashes(*words)) == splitmix(*words)
        assert float(uniform(*words)) == (splitmix(*words) >> 11) / 2**53


def test_epochs_sort_by_the_hash_of_seed_use_epoch_and_place() -> None:
    ids = np.arange(10, 17)
    order = ShuffledEpochs(ids, 3, seed=5)
    stream = [10 + place for epoch in range(3) for place in by_hash(range(7), 5, SHUFFLE, epoch)]
    assert [list(order.batch(step)) for step in range(7)] == [stream[3 * step : 3 * step + 3] for step in range(7)]


def test_blocks_sort_shards_first_and_samples_inside() -> None:
    shards = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    order = ShuffledEpochs(np.arange(8), 8, seed=5, shard_of=shards, block_shards=2)
    for epoch in range(3):
        drawn = by_hash(range(4), 5, BLOCKS, epoch)
        expected: list[int] = []
        for block in (drawn[:2], drawn[2:]):
            expected += by_hash([sample for sample in range(8) if shards[sample] in block], 5, SHUFFLE, epoch)
        assert list(order.batch(epoch)) == expected


def test_episodes_draw_classes_by_step_and_images_by_step_and_id() -> None:
    ids, labels = np.arange(20, 40), np.arange(20) % 5
    order = Episodes(ids, labels, ways=3, shots=2, seed=5)
    for step in range(4):
        expected: list[int] = []
        for label in by_hash(range(5), 5, WAYS, step)[:3]:
            expected += by_hash(ids[labels == label].tolist(), 5, SHOTS, step)[:2]
        assert list(order.batch(step)) == expected


def test_a_shifted_order_passes_over_batches() -> None:
    order = ShuffledEpochs(np.arange(20), 4, seed=1)
    assert [list(Shifted(order, 3).batch(step)) for step in range(5)] == [list(order.batch(step + 3)) for step in range(5)]


def test_parts_of_a_batch_are_cut_at_whole_numbers() -> None:
    assert [part(10, rank, 4) for rank in range(4)] == [slice(0, 2), slice(2, 5), slice(5, 7), slice(7, 10)]
