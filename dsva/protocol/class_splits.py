"""Class splits: which classes are seen and which unseen, from a file, from the shard set, or drawn from a seed."""

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import model_validator

from dsva.json_files import Names, Schema, checked, read_json, unknown
from shards.errors import UserError
from shards.hashing import CLASS_SPLIT, hashes
from shards.index import ShardSet
from shards.names import matching, same_names
from shards.order import Ids
from shards.split_words import TEST_SEEN, TEST_UNSEEN, TRAIN, TRAIN_AND_TEST_SEEN, split_word

RANDOM = "random:"


@dataclass(frozen=True)
class Split:
    """A class split.

    Attributes:
        name: of the split.
        seen: classes, as the shard set calls them.
        unseen: classes, likewise.
        sha256: of the file that names them.
        respelled: names of the file that the shard set spells otherwise, as `its name for the file's`.
    """

    name: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    sha256: str
    respelled: tuple[str, ...] = ()


class _Named(Schema):
    """A split as a file of splits has it."""

    seen: Names
    unseen: Names

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if same := same_names((*self.seen, *self.unseen)):
            raise ValueError(f"{same[0]!r} and {same[1]!r} are one class")
        return self


def find_split(data: ShardSet, file: Path | None, name: str) -> Split:
    """Return the split `name`: `random:SEED:UNSEEN` draws one, others are in `file`; without a file it is the shard set's own.

    A class that the file spells otherwise than the shard set, in a way that people do not notice, gets the set's name.

    Raises:
        UserError: as the function that it is left to.
    """
    if name.startswith(RANDOM):
        return random_split(data, name)
    return _as_packed(load_split(file, name), data) if file else own_split(data)


def _as_packed(split: Split, data: ShardSet) -> Split:
    names = {name: matching(name, data.classes) or name for name in (*split.seen, *split.unseen)}
    respelled = tuple(f"{packed!r} for {name!r}" for name, packed in names.items() if packed != name)
    seen, unseen = (tuple(names[name] for name in part) for part in (split.seen, split.unseen))
    return replace(split, seen=seen, unseen=unseen, respelled=respelled)


def random_split(data: ShardSet, name: str) -> Split:
    """Draw the unseen classes of a shard set: those with the lowest hashes of seed and class name.

    The same seed draws the same classes from any packing of them, and more unseen ones include the fewer.

    Raises:
        UserError: `name` is not `random:SEED:UNSEEN`, or that many unseen classes leave fewer than two seen ones.
    """
    found = re.fullmatch(r"random:([0-9]{1,9}):([0-9]{1,9})", name)
    if found is None:
        raise UserError(f"classes.split={name} is not of the form random:SEED:UNSEEN, such as random:1:10: correct it")
    seed, count = int(found[1]), int(found[2])
    if not 1 <= count <= len(data.classes) - 2:
        raise UserError(
            f"classes.split={name} asks for {count} unseen classes of the {len(data.classes)} in {data.root}: "
            f"ask for 1 to {len(data.classes) - 2}"
        )
    _refuse_same(data)
    drawn = sorted(data.classes, key=lambda each: int(hashes(CLASS_SPLIT, seed, xxhash.xxh3_64_intdigest(each.encode()))))
    unseen = tuple(sorted(drawn[:count]))
    seen = tuple(sorted(drawn[count:]))
    return Split(name, seen, unseen, hashlib.sha256(json.dumps([seen, unseen]).encode()).hexdigest())


def load_split(path: Path, name: str) -> Split:
    """Read the class split `name` from a JSON file of splits, each with a list `seen` and a list `unseen`.

    Raises:
        UserError: unreadable, no such split (with the nearest one), or a class both seen and unseen, also if
            the two names differ only in case, spaces or punctuation.
    """
    value, sha256 = read_json(path)
    if name not in value:
        raise UserError(f"{path} has no split {name!r}: {unknown(name, value)}")
    named = checked(_Named, value[name], path, place=f"split {name!r}: ")  # the others may be for other programs
    return Split(name, tuple(named.seen), tuple(named.unseen), sha256)


def own_split(data: ShardSet) -> Split:
    """Return the class split that a shard set's source named: the classes with `test_unseen` images are the unseen ones.

    Raises:
        UserError: the source named none, names other images of such a class for training or as seen ones, or has two classes
            with the same name but for their spelling.
    """
    _refuse_same(data)
    every = np.arange(len(data))
    unseen = set(data.labels[in_splits(data, every, (TEST_UNSEEN,))].tolist())
    if not unseen:
        raise UserError(f"{data.root} names no `test_unseen` images: give classes.splits=FILE and classes.split=NAME")
    others = data.labels[in_splits(data, every, (TRAIN, TEST_SEEN, TRAIN_AND_TEST_SEEN))]
    if both := sorted(unseen & set(others.tolist())):
        name, count = data.classes[both[0]], np.sum(others == both[0])
        raise UserError(
            f"{data.root} has `test_unseen` images of {name!r} and {count:,} others of it that train or test as seen: "
            "a class is seen or unseen, so correct the source's splits and pack it again"
        )
    names = [tuple(name for label, name in enumerate(data.classes) if (label in unseen) == wanted) for wanted in (False, True)]
    return Split("own", names[0], names[1], data.digest)


def _refuse_same(data: ShardSet) -> None:
    if same := same_names(data.classes):
        raise UserError(f"{data.root} has the classes {same[0]!r} and {same[1]!r}, which are one class: pack them under one name")


def in_splits(data: ShardSet, ids: Ids, names: Collection[str]) -> NDArray[np.bool_]:
    """Tell which samples the source put into one of the splits `names`, see `shards.split_words.WORDS`; [len(ids)]."""
    wanted = [place for place, name in enumerate(data.splits) if split_word(name) in names]
    return np.isin(data.records["split"][ids], wanted)
