"""Which images train and which test: decided and checked before any step.

An honest run trains on images of the seen classes only and is tested on the rest. A validation run plays the
same game inside the honest run's training images, so that nothing chosen with it has met a test image.
No choice here depends on the run's seed: runs with one class split and one share of test images share them.
"""

from dataclasses import dataclass, replace

import numpy as np
import xxhash
from numpy.typing import NDArray

from dsva.config import ValidationConfig
from dsva.json_files import unknown
from dsva.protocol.class_splits import Split, in_splits
from dsva.protocol.near_duplicates import near
from shards.difference_hashes import DISTANCE
from shards.errors import UserError
from shards.hashing import HOLD_OUT, Hashes, hashes
from shards.index import ShardSet
from shards.order import Ids
from shards.split_words import TEST, TEST_SEEN, TRAIN, TRAIN_AND_TEST_SEEN, VAL

TESTING, VALIDATION, THIRDS = range(3)  # streams under HOLD_OUT
MIN_SEEN = 6  # classes, for a validation partition: a third of them must be two at least
# Splits whose images measure S; of these the first that has some.
TESTS = ((TEST_SEEN, TRAIN_AND_TEST_SEEN), (TEST,), (VAL,))


@dataclass(frozen=True, eq=False)
class ImageSets:
    """Which images do what; the three sets share no image and no image content, but as published `train` may hold `seen_test`.

    Attributes:
        classes: the classes of this run, seen before unseen, [C]; places in it are the labels of scores.
        n_seen: how many of them are seen.
        train: sample ids that train, ascending.
        seen_test: sample ids of seen classes that measure S, ascending; empty if the share is 0.
        unseen_test: sample ids of unseen classes, ascending.
        labels: place of every sample of the shard set in `classes`, [samples]; -1 for the other classes.
        warnings: one sentence for each thing to be known about the data.
    """

    classes: tuple[str, ...]
    n_seen: int
    train: Ids
    seen_test: Ids
    unseen_test: Ids
    labels: NDArray[np.int64]
    warnings: tuple[str, ...]

    @property
    def seen(self) -> tuple[str, ...]:
        """Names of the seen classes."""
        return self.classes[: self.n_seen]

    @property
    def unseen(self) -> tuple[str, ...]:
        """Names of the unseen classes."""
        return self.classes[self.n_seen :]


def image_sets(
    data: ShardSet,
    split: Split,
    seen_test_share: float,
    validation: ValidationConfig,
    shots: int = 1,
    exclude_near: int | None = None,
    published: bool = False,
) -> ImageSets:
    """Divide the images of a shard set among training and tests.

    Of each seen class the `seen_test_share` of images with the lowest hashes of their keys measures S, unless
    the source itself named training and test images. Training images that are exact copies of a test image
    are left out. With a `validation.partition` the training images that remain are divided once more.

    Args:
        data: the images.
        split: the classes.
        seen_test_share: share of each seen class that is held out, in [0, 1).
        validation: whether a third of the seen classes plays the unseen ones.
        shots: images that every class must keep for training.
        exclude_near: bits in which the difference hash of a training image may differ from a test image's, for it to be
            left out; None only warns of those that `shards.difference_hashes` finds alike.
        published: also train on those test images of seen classes that the source's own training set holds, as the authors of
            DSVA do, and warn of it.

    Raises:
        UserError: a class that the shard set does not have, or one with too few images for any of the sets.
    """
    _check_known(split, data)
    sets = _honest(data, split, seen_test_share, exclude_near)
    if validation.partition is not None:
        sets = _inside_training(data, sets, third(split.seen, validation.partition), validation.seen_share, exclude_near)
        seen_test_share = validation.seen_share
    _check_enough(data, sets, shots, tested=seen_test_share > 0 or len(sets.seen_test) > 0)
    return _as_published(data, sets) if published else sets


def _as_published(data: ShardSet, sets: ImageSets) -> ImageSets:
    both = sets.seen_test[in_splits(data, sets.seen_test, (TRAIN_AND_TEST_SEEN,))]
    if len(both) == 0:
        return sets
    told = (
        f"as published, {len(both)} of the {len(sets.seen_test)} test images of seen classes are trained on: S and H are not honest"
    )
    return replace(sets, train=np.union1d(sets.train, both), warnings=(*sets.warnings, told))


def _honest(data: ShardSet, split: Split, seen_test_share: float, exclude_near: int | None) -> ImageSets:
    classes, n_seen = (*split.seen, *split.unseen), len(split.seen)
    labels = _labels(data, classes)
    warnings = _unused(data, labels)
    seen = np.flatnonzero((labels >= 0) & (labels < n_seen))
    unseen_test = np.flatnonzero(labels >= n_seen)
    if split.respelled:
        warnings.append(f"classes are taken although {data.root} spells them otherwise: {', '.join(split.respelled)}")
    seen, seen_test = _named(data, seen, warnings)
    if len(seen_test) == 0:
        seen_test = _held_out(data, seen, labels, seen_test_share, TESTING)
    train = _without_copies(data, np.setdiff1d(seen, seen_test), (seen_test, unseen_test), exclude_near, warnings)
    return ImageSets(classes, n_seen, train, seen_test, unseen_test, labels, tuple(warnings))


def _inside_training(data: ShardSet, honest: ImageSets, held: tuple[str, ...], share: float, exclude_near: int | None) -> ImageSets:
    """Divide the training images of an honest run once more, with the classes `held` as the unseen ones."""
    classes, n_seen = (*(name for name in honest.seen if name not in held), *held), honest.n_seen - len(held)
    labels, warnings = _labels(data, classes), list(honest.warnings)
    seen = honest.train[labels[honest.train] < n_seen]
    unseen_test = honest.train[labels[honest.train] >= n_seen]
    seen_test = _held_out(data, seen, labels, share, VALIDATION)
    train = _without_copies(data, np.setdiff1d(seen, seen_test), (seen_test, unseen_test), exclude_near, warnings)
    return ImageSets(classes, n_seen, train, seen_test, unseen_test, labels, tuple(warnings))


def _check_known(split: Split, data: ShardSet) -> None:
    for name in (*split.seen, *split.unseen):
        if name not in data.classes:
            raise UserError(f"split {split.name!r} has the class {name!r}, {data.root} has not: {unknown(name, data.classes)}")


def _labels(data: ShardSet, classes: tuple[str, ...]) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places.get(name, -1) for name in data.classes], np.int64)[data.labels]


def _unused(data: ShardSet, labels: NDArray[np.int64]) -> list[str]:
    names = sorted({data.classes[label] for label in np.unique(data.labels[labels < 0])})
    return [f"{data.root} has classes outside the split, whose images are used nowhere: {', '.join(names)}"] if names else []


def _named(data: ShardSet, seen: Ids, warnings: list[str]) -> tuple[Ids, Ids]:
    """Return the images of seen classes that train or test, and those that test as the source says; warn of all others.

    Images without a split train where the source names no training images, or no test images. What the source calls a
    test or validation image, or in a word that means nothing here, never trains.
    """
    named = (seen[in_splits(data, seen, words)] for words in TESTS)
    tests = next((ids for ids in named if len(ids)), seen[:0])
    train, free = (seen[in_splits(data, seen, (word,))] for word in (TRAIN, ""))
    if len(tests) == 0 or len(train) == 0:
        train = np.union1d(train, free)
    if len(tests):
        called = " (its validation images measure S)" if in_splits(data, tests, (VAL,)).any() else ""
        warnings.append(f"{data.root} names training and test images itself{called}: these are used, and seen_test_share is not")
    used = np.union1d(train, tests)
    unused = np.bincount(data.records["split"][np.setdiff1d(seen, used)], minlength=len(data.splits))
    if unused.any():
        counts = [(name, count) for name, count in zip(data.splits, unused, strict=True) if count]
        told = ", ".join(f"{count:,} {name!r}" if name else f"{count:,} without one" for name, count in counts)
        warnings.append(f"images of seen classes that are used nowhere, because of their split: {told}")
    return used, tests


def _held_out(data: ShardSet, ids: Ids, labels: NDArray[np.int64], share: float, stream: int) -> Ids:
    """Return the `share` of each class's `ids` with the lowest hashes: a matter of the keys, not of the packing."""
    order = ids[np.lexsort((key_hashes(data, ids, HOLD_OUT, stream), labels[ids]))]
    sizes = np.bincount(labels[ids])
    rank = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[labels[order]]
    return np.sort(order[rank < np.round(share * sizes)[labels[order]]])


def key_hashes(data: ShardSet, ids: Ids, *words: int) -> Hashes:
    """Hash the words with the keys of samples, [len(ids)]: the same for a sample whatever the packing."""
    keys: Hashes = np.array([xxhash.xxh3_64_intdigest(data.key(int(i)).encode()) for i in ids], np.uint64)
    return hashes(*words, keys)


def third(seen: tuple[str, ...], partition: int) -> tuple[str, ...]:
    """Return the third of the seen classes that plays the unseen ones in a validation partition: those of certain name hashes.

    Raises:
        UserError: there are too few.
    """
    if len(seen) < MIN_SEEN:
        raise UserError(
            f"validation.partition={partition} needs at least {MIN_SEEN} seen classes, the split has {len(seen)}: leave it out"
        )
    names = sorted(seen, key=lambda name: int(hashes(HOLD_OUT, THIRDS, xxhash.xxh3_64_intdigest(name.encode()))))
    return tuple(sorted(names[partition::3]))


def _without_copies(data: ShardSet, train: Ids, tests: tuple[Ids, ...], exclude_near: int | None, warnings: list[str]) -> Ids:
    """Return the training images whose content, or nearly, is in no test set; say in `warnings` what was left out or found."""
    test = np.concatenate(tests)
    contents = data.records["checksum"]
    copies = train[np.isin(contents[train], contents[test])]
    if len(copies):
        original = int(test[contents[test] == contents[copies[0]]][0])
        warnings.append(
            f"training images left out because they are exact copies of test images: {len(copies)}, "
            f"such as {data.key(int(copies[0]))}, a copy of {data.key(original)}"
        )
    return _without_near(data, np.setdiff1d(train, copies), test, exclude_near, warnings)


def _without_near(data: ShardSet, train: Ids, test: Ids, exclude_near: int | None, warnings: list[str]) -> Ids:
    """Leave out what is near, or, where that is not asked for, only report what `shards.difference_hashes` finds alike."""
    distance = DISTANCE if exclude_near is None else exclude_near
    twins = near(data, train, test, distance, telling=exclude_near is None)
    alike = np.flatnonzero(twins >= 0)
    if len(alike) == 0:
        return train
    example = f"{data.key(int(train[alike[0]]))}, like {data.key(int(twins[alike[0]]))}"
    if exclude_near is None:
        warnings.append(
            f"training images that look like a test image (difference hash within {DISTANCE} of 64 bits): {len(alike)}, "
            f"such as {example}; `dsva shards near {data.root}` shows them, classes.exclude_near={DISTANCE} leaves them out"
        )
        return train
    bits = f"difference hash within {exclude_near} of 64 bits"
    warnings.append(f"training images left out because they look like a test image ({bits}): {len(alike)}, such as {example}")
    return np.delete(train, alike)


def _check_enough(data: ShardSet, sets: ImageSets, shots: int, tested: bool) -> None:
    seen, unseen = range(sets.n_seen), range(sets.n_seen, len(sets.classes))
    for ids, places, least, purpose in (
        (sets.train, seen, shots, "to train on"),
        (sets.seen_test, seen if tested else (), 1, "held out to measure S"),
        (sets.unseen_test, unseen, 1, "to test"),
    ):
        counts = np.bincount(sets.labels[ids], minlength=len(sets.classes))
        for place in places:
            if counts[place] < least:
                raise UserError(
                    f"class {sets.classes[place]!r} of {data.root} has {counts[place]} images {purpose} and needs {least}: "
                    "give it more images, change the share held out, or take it out of the split"
                )
    parts = np.concatenate([sets.train, sets.seen_test, sets.unseen_test])
    assert len(np.unique(parts)) == len(parts), "training and test sets overlap"
