from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xxhash

from dsva.config import ValidationConfig
from dsva.protocol.class_splits import Split, load_split
from dsva.protocol.image_sets import ImageSets, image_sets
from shards.errors import UserError
from shards.index import ShardSet
from tests.helpers.drawn import NAMES
from tests.helpers.shard_sets import shard_set

CONFIGS = Path(__file__).parents[2] / "configs" / "aid"
HONEST = ValidationConfig()


def keys(data: ShardSet, ids: np.ndarray) -> set[str]:
    return {data.key(int(i)) for i in ids}


@pytest.fixture(scope="module")
def images() -> list[tuple[str, bytes]]:
    """As many as AID has; what is told of them needs no pixels."""
    return [(key, key.encode()) for name in NAMES for number in range(120) for key in [f"{name}/{name.lower()}_{number}"]]


@pytest.fixture(scope="module")
def data(images: list[tuple[str, bytes]]) -> ShardSet:
    return shard_set(images)


@pytest.fixture
def split() -> Split:
    return load_split(CONFIGS / "class_splits.json", "20_10")


def per_class(sets: ImageSets, ids: np.ndarray) -> list[int]:
    return np.bincount(sets.labels[ids], minlength=len(sets.classes)).tolist()


def test_honest_run_holds_a_share_of_each_seen_class_and_all_unseen_images(data: ShardSet, split: Split) -> None:
    sets = image_sets(data, split, 0.2, HONEST)
    assert (sets.seen, sets.unseen) == (split.seen, split.unseen)
    assert per_class(sets, sets.seen_test) == [24] * 20 + [0] * 10
    assert per_class(sets, sets.unseen_test) == [0] * 20 + [120] * 10
    assert per_class(sets, sets.train) == [96] * 20 + [0] * 10
    assert all(data.classes[data.labels[i]] == sets.classes[sets.labels[i]] for i in range(0, len(data), 7))
    assert sets.warnings == ()


@pytest.mark.parametrize("partition", [0, 1, 2])
def test_validation_run_stays_inside_the_honest_training_images(data: ShardSet, split: Split, partition: int) -> None:
    honest = image_sets(data, split, 0.2, HONEST)
    sets = image_sets(data, split, 0.2, ValidationConfig(partition=partition, seen_share=0.1))
    held = len(sets.unseen)
    assert held in (6, 7)
    assert set(sets.classes) == set(split.seen)
    assert per_class(sets, sets.seen_test) == [10] * (20 - held) + [0] * held
    assert per_class(sets, sets.unseen_test) == [0] * (20 - held) + [96] * held
    together = np.concatenate([sets.train, sets.seen_test, sets.unseen_test])
    assert np.array_equal(np.sort(together), honest.train)


def test_the_three_partitions_hold_every_seen_class_out_once(data: ShardSet, split: Split) -> None:
    held = [image_sets(data, split, 0.2, ValidationConfig(partition=p)).unseen for p in (0, 1, 2)]
    assert sorted(sum(held, ())) == sorted(split.seen)


def test_sets_depend_on_keys_and_not_on_the_packing(images: list[tuple[str, bytes]], data: ShardSet, split: Split) -> None:
    turned = shard_set(images[::-1])
    for validation in (HONEST, ValidationConfig(partition=1)):
        sets, other = (image_sets(each, split, 0.2, validation) for each in (data, turned))
        assert keys(data, sets.train) == keys(turned, other.train)
        assert keys(data, sets.seen_test) == keys(turned, other.seen_test)


def test_a_larger_share_keeps_the_images_of_a_smaller_one(data: ShardSet, split: Split) -> None:
    small, large = (image_sets(data, split, share, HONEST).seen_test for share in (0.1, 0.3))
    assert set(small.tolist()) < set(large.tolist())


def test_share_zero_measures_unseen_classes_only(data: ShardSet, split: Split) -> None:
    sets = image_sets(data, split, 0, HONEST)
    assert len(sets.seen_test) == 0
    assert len(sets.train) == 20 * 120


def test_exact_copies_of_test_images_do_not_train(images: list[tuple[str, bytes]], split: Split) -> None:
    unseen = next(content for key, content in images if key.startswith(split.unseen[0] + "/"))
    copied = [*images, (f"{split.seen[0]}/copy", unseen)]
    data = shard_set(copied)
    sets = image_sets(data, split, 0, HONEST)
    assert f"{split.seen[0]}/copy" not in keys(data, sets.train)
    assert f"{split.seen[0]}/copy, a copy of {split.unseen[0]}/" in sets.warnings[0]
    assert len(sets.train) == 20 * 120


def test_training_and_test_images_named_by_the_source_are_used(images: list[tuple[str, bytes]], split: Split) -> None:
    data = shard_set(images, ("", "train", "val"), lambda key: 1 + (xxhash.xxh3_64_intdigest(key.encode()) % 4 == 0))
    sets = image_sets(data, split, 0.2, HONEST)
    assert set(data.records["split"][sets.train]) == {1}
    assert set(data.records["split"][sets.seen_test]) == {2}
    assert len(sets.train) + len(sets.seen_test) == 20 * 120
    assert "names training and test images itself" in sets.warnings[0]


def test_a_source_with_training_images_only_leaves_the_share_in_charge(images: list[tuple[str, bytes]], split: Split) -> None:
    sets = image_sets(shard_set(images, ("", "train"), lambda _: 1), split, 0.2, HONEST)
    assert per_class(sets, sets.seen_test)[:20] == [24] * 20


@pytest.mark.parametrize(
    ("names", "train", "test", "told"),
    [
        (("", "Valid"), ("",), ("Valid",), "its validation images measure S"),
        (("", " TEST"), ("",), (" TEST",), "names training and test images itself:"),
        (
            ("Training", "validation", "Testing"),
            ("Training",),
            ("Testing",),
            "used nowhere, because of their split: 8 'validation'",
        ),
        (("", "train", "dev"), ("train",), ("dev",), "used nowhere, because of their split: 8 without one"),
        (("train", "holdout"), ("train",), (), "used nowhere, because of their split: 8 'holdout'"),
        (("", "1"), ("",), (), "used nowhere, because of their split: 8 '1'"),
        (
            ("train", "test_unseen", "test_seen"),
            ("train",),
            ("test_seen",),
            "used nowhere, because of their split: 8 'test_unseen'",
        ),
    ],
)
def test_what_is_not_called_training_never_trains_without_a_word(
    names: tuple[str, ...], train: tuple[str, ...], test: tuple[str, ...], told: str
) -> None:
    each = 4 * len(names)
    data = shard_set(
        [(f"{name}/{i}", f"{name}{i}".encode()) for name in "abc" for i in range(each)],
        names,
        lambda key: int(key[2:]) % len(names),
    )
    sets = image_sets(data, Split("s", ("a", "b"), ("c",), ""), 0.25, HONEST)
    assert {names[place] for place in data.records["split"][sets.train]} == set(train)
    assert {names[place] for place in data.records["split"][sets.seen_test]} == set(test or train)
    assert len(sets.train) == (8 if test else 6)
    assert len(sets.unseen_test) == each
    assert any(told in warning for warning in sets.warnings)


def test_classes_outside_the_split_are_named_and_unused(data: ShardSet, split: Split) -> None:
    sets = image_sets(data, replace(split, unseen=split.unseen[1:]), 0.2, HONEST)
    assert sets.warnings[0].endswith(split.unseen[0])
    assert data.classes.index(split.unseen[0]) not in data.labels[sets.unseen_test]


def test_too_few_images_are_refused(images: list[tuple[str, bytes]], data: ShardSet, split: Split) -> None:
    with pytest.raises(UserError, match="has 96 images to train on and needs 97"):
        image_sets(data, split, 0.2, HONEST, shots=97)
    with pytest.raises(UserError, match="has 0 images held out to measure S and needs 1"):
        image_sets(data, split, 0.004, HONEST)
    few = shard_set([image for image in images if not image[0].startswith("Airport/")] + [images[0]])
    with pytest.raises(UserError, match="class 'Airport' of SET has 0 images held out"):
        image_sets(few, split, 0.2, HONEST)


def test_unknown_class_and_too_few_classes_are_refused(data: ShardSet, split: Split) -> None:
    with pytest.raises(UserError, match="'bare_land', SET has not: did you mean 'BareLand'"):
        image_sets(data, replace(split, unseen=("bare_land",)), 0.2, HONEST)
    with pytest.raises(UserError, match="needs at least 6 seen classes, the split has 5"):
        image_sets(data, replace(split, seen=split.seen[:5]), 0.2, ValidationConfig(partition=0))


def test_published_training_sets_hold_test_images_only_where_asked_and_said() -> None:
    names = ("", "train", "test_seen", "train_and_test_seen", "test_unseen")

    def split_of(key: str) -> int:
        name, number = key.split("/")
        return 4 if name == "c" else {0: 2, 1: 3, 2: 3}.get(int(number), 1)

    data = shard_set([(f"{name}/{i}", f"{name}{i}".encode()) for name in "abc" for i in range(8)], names, split_of)
    split = Split("own", ("a", "b"), ("c",), "")
    honest = image_sets(data, split, 0.2, ValidationConfig())
    paper = image_sets(data, split, 0.2, ValidationConfig(), published=True)
    assert keys(data, honest.seen_test) == keys(data, paper.seen_test) == {f"{name}/{i}" for name in "ab" for i in range(3)}
    assert keys(data, honest.train) == {f"{name}/{i}" for name in "ab" for i in range(3, 8)}
    assert keys(data, paper.train) == {f"{name}/{i}" for name in "ab" for i in range(1, 8)}
    assert paper.warnings[-1] == "as published, 4 of the 6 test images of seen classes are trained on: S and H are not honest"
    assert len(paper.warnings) == len(honest.warnings) + 1
