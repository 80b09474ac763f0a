"""The order: every image once an epoch, the same global batch for any layout, any step at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.hashing import hashes, uniform
from shards.order import Episodes, Sequential, ShuffledEpochs, part

seeds = st.integers(0, 2**31)


@given(n=st.integers(1, 300), batch=st.integers(1, 70), seed=seeds, blocks=st.integers(0, 4))
def test_every_image_exactly_once_an_epoch(n: int, batch: int, seed: int, blocks: int) -> None:
    ids = np.arange(n) * 3 + 7
    order = ShuffledEpochs(ids, batch, seed, ids // 50, blocks)
    steps = -(-3 * n // batch)
    stream = np.concatenate([order.batch(step) for step in range(steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(ids)


@given(n=st.integers(40, 300), batch=st.integers(1, 70), step=st.integers(0, 10**6), seed=seeds)
def test_a_step_needs_no_history(n: int, batch: int, step: int, seed: int) -> None:
    ids = np.arange(n)
    walked = ShuffledEpochs(ids, batch, seed)
    for earlier in range(max(0, step - 3), step):
        walked.batch(earlier)
    assert (walked.batch(step) == ShuffledEpochs(ids, batch, seed).batch(step)).all()


@given(size=st.integers(0, 200))
def test_ranks_share_a_batch_without_gap_or_overlap(size: int) -> None:
    for world_size in (1, 2, 3, 4, 8):
        parts = [np.arange(size)[part(size, rank, world_size)] for rank in range(world_size)]
        assert (np.concatenate(parts) == np.arange(size)).all()
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(seed=seeds, step=st.integers(0, 10**6), ways=st.integers(1, 6), shots=st.integers(1, 4))
def test_episodes_repeat_neither_class_nor_image(seed: int, step: int, ways: int, shots: int) -> None:
    labels = np.repeat(np.arange(6), 4)
    ids = np.arange(100, 124)
    batch = Episodes(ids, labels, ways, shots, seed).batch(step)
    drawn = labels[batch - 100].reshape(ways, shots)
    assert len(set(batch)) == ways * shots
    assert (drawn == drawn[:, :1]).all()
    assert len(set(drawn[:, 0])) == ways


def test_episodes_reach_every_image() -> None:
    labels = np.repeat(np.arange(10), 12)
    order = Episodes(np.arange(120), labels, 8, 3, seed=1)
    seen = np.concatenate([order.batch(step) for step in range(100)])
    assert len(set(seen)) == 120
    counts = np.bincount(labels[seen])
    assert counts.min() > 0.7 * counts.mean()


def test_blocks_keep_reads_in_few_shards() -> None:
    ids = np.arange(1000)
    order = ShuffledEpochs(ids, 50, 3, shard_of=ids // 100, block_shards=2)
    first_block = order.epoch(0)[:200] // 100
    assert len(set(first_block)) == 2
    assert (np.diff(first_block) != 0).any(), "samples are shuffled inside a block"
    assert set(order.epoch(1)[:200] // 100) != set(first_block), "another epoch starts with other shards"


def test_epochs_and_seeds_differ() -> None:
    ids = np.arange(100)
    one, other = ShuffledEpochs(ids, 10, 0), ShuffledEpochs(ids, 10, 1)
    assert (one.epoch(0) != one.epoch(1)).any()
    assert (one.epoch(0) != other.epoch(0)).any()


def test_sequential_ends_with_the_last_sample() -> None:
    order = Sequential(np.arange(10), 4)
    assert order.steps == 3
    assert [list(order.batch(step)) for step in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_the_hash_is_fixed_for_ever() -> None:
    # A run that is resumed with a later version must see the same images: these figures never change.
    assert int(hashes(0, 1, 2)) == int(hashes(0, 1, np.array(2)))
    assert [int(h) for h in hashes(7, np.arange(3))] == [FIXED[0], FIXED[1], FIXED[2]]


FIXED = (13309476754707697221, 4414019431610648415, 5090977316425868581)


@settings(max_examples=20)
@given(words=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
def test_uniform_is_uniform(words: list[int]) -> None:
    draws = uniform(*words, np.arange(4000))
    assert draws.min() >= 0
    assert draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.03)
    assert np.corrcoef(draws[:-1], draws[1:])[0, 1] == pytest.approx(0, abs=0.08)
