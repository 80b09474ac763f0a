"""A shard's part of the index, kept beside the plan until all shards are there and the parts can be joined."""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from shards.description import INDEX, KEYS, Shard
from shards.files import replace_with, sync
from shards.image_checks import ImageFacts
from shards.index import RECORD
from shards.sources.records import Refused
from shards.sources.tally import Tally


@dataclass
class IndexFragment:
    """What is known of one shard; a row's label and split are places in the fragment's own `classes` and `splits`.

    Attributes:
        classes: names of the classes that occur, and their places.
        splits: names of the splits that occur, and their places.
        bad: images that could not be packed.
        turned: number of images that are turned upright.
        ignored: what else lies in a tar that was written elsewhere.
        shard: the finished tar; set by `write`.
    """

    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    bad: list[Refused] = field(default_factory=list)
    turned: int = 0
    ignored: Tally = field(default_factory=Tally)
    shard: Shard | None = None
    _rows: list[tuple[int, ...]] = field(default_factory=list)
    _keys: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, key: str, class_name: str, split: str, *, offset: int, data: bytes, facts: ImageFacts) -> None:
        """Add a sample whose image bytes `data` lie at `offset` of the tar."""
        label = self.classes.setdefault(class_name, len(self.classes))
        place = self.splits.setdefault(split, len(self.splits))
        numbers = (len(self._keys), xxhash.xxh3_64_intdigest(data), facts.phash, len(data), 0, label, place)
        self._rows.append((offset, *numbers, facts.width, facts.height))
        self.turned += facts.turned
        self._keys += key.encode() + b"\n"

    def write(self, folder: Path, number: int, shard: Shard) -> None:
        """Write the fragment; it exists once its JSON, written last, does."""
        replace_with(folder / f"{number:06d}.bin", np.array(self._rows, RECORD).tobytes())
        replace_with(folder / f"{number:06d}.keys", bytes(self._keys))
        described = {
            "shard": vars(shard),
            "classes": list(self.classes),
            "splits": list(self.splits),
            "bad": [(bad.path, bad.reason) for bad in self.bad],
            "turned": self.turned,
            **self.ignored.described(),
        }
        replace_with(folder / f"{number:06d}.json", json.dumps(described).encode())


def read_index_fragment(folder: Path, number: int) -> IndexFragment | None:
    """Return a finished fragment's description, without its rows; None where there is none of this version."""
    path = folder / f"{number:06d}.json"
    if not path.exists():
        return None
    described: dict[str, Any] = json.loads(path.read_bytes())
    if "turned" not in described:
        return None
    classes, splits = ({name: i for i, name in enumerate(described[kind])} for kind in ("classes", "splits"))
    bad = [Refused(*image) for image in described["bad"]]
    return IndexFragment(classes, splits, bad, described["turned"], Tally.of(described), Shard(**described["shard"]))


def forget_index_fragment(folder: Path, number: int) -> None:
    """Declare a shard unfinished, before its tar is written again."""
    (folder / f"{number:06d}.json").unlink(missing_ok=True)


def finished(folder: Path, count: int) -> Iterator[IndexFragment]:
    """Yield the fragments 0 to `count` - 1, which must all be there, one at a time."""
    for number in range(count):
        fragment = read_index_fragment(folder, number)
        assert fragment is not None, f"shard {number} is not finished"
        yield fragment


def counts(folder: Path, number: int, names: Collection[str], column: str) -> dict[str, int]:
    """Return how many images of a finished fragment have each of its classes (column "label") or splits ("split")."""
    places = np.fromfile(folder / f"{number:06d}.bin", RECORD)[column]
    return dict(zip(names, np.bincount(places, minlength=len(names)).tolist(), strict=True))


def join(folder: Path, count: int, target: Path, labels: Mapping[str, int], splits: Mapping[str, int]) -> list[Shard]:
    """Write index.bin and keys.txt in `target` from all fragments, one at a time.

    Args:
        folder: of the fragments 0 to `count` - 1, all finished.
        count: number of shards.
        target: folder of the set.
        labels: label of every class name in the fragments.
        splits: place of every split name in the fragments.

    Returns:
        The shards.
    """
    shards, keys_before = [], 0
    with (target / INDEX).open("wb") as index, (target / KEYS).open("wb") as keys:
        for number, fragment in enumerate(finished(folder, count)):
            rows = np.fromfile(folder / f"{number:06d}.bin", RECORD)
            lines = (folder / f"{number:06d}.keys").read_bytes()
            rows["shard"] = number
            rows["key"] += keys_before
            rows["label"] = _mapped(rows["label"], fragment.classes, labels.__getitem__)
            rows["split"] = _mapped(rows["split"], fragment.splits, splits.__getitem__)
            index.write(rows.tobytes())
            keys.write(lines)
            keys_before += len(lines)
            assert fragment.shard is not None
            shards.append(fragment.shard)
        for file in (index, keys):
            file.flush()
            os.fsync(file.fileno())
    sync(target)
    return shards


def _mapped(places: NDArray[np.uint32], names: Mapping[str, int], global_place: Callable[[str], int]) -> NDArray[np.uint32]:
    return np.array([global_place(name) for name in names], np.uint32)[places]
