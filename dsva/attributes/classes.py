"""The classes that a table is made for: their words, which of them are seen, and whose images may be looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, RootModel

from dsva.config import ValidationConfig
from dsva.json_files import Name, checked, unknown
from dsva.model.prompts import words
from dsva.protocol.attribute_table import PARTITIONS
from dsva.protocol.class_splits import RANDOM, Split, find_split, load_split
from dsva.protocol.image_sets import ImageSets, image_sets, third
from dsva.yaml_files import read_mapping
from shards.errors import UserError
from shards.index import ShardSet
from shards.names import matching


class _Described(RootModel[dict[Name, str | None]]):
    """A YAML file of classes, each with a description or nothing after it."""

    model_config = ConfigDict(strict=True)


@dataclass(frozen=True, eq=False)
class Wanted:
    """Classes of a table.

    Attributes:
        names: seen before unseen, [C].
        described: class -> what stands for it in prompts; of all classes of the split.
        split: its name; "" where no class is known to be seen or unseen.
        n_seen: how many are seen; 0 without a split.
        images: the shard set and its image sets, where images may be looked at.
    """

    names: tuple[str, ...]
    described: Mapping[str, str]
    split: str
    n_seen: int
    images: tuple[ShardSet, ImageSets] | None


def wanted(classes: Path, shards: Path | None, split: str | None, seen_test_share: float) -> list[Wanted]:
    """Find out which classes are meant: of the final run, and of its three validation runs where there can be such.

    Args:
        classes: a shard set; a JSON file of class splits; or a YAML file of classes with a description each (or none).
        shards: shard set of the images; that of `classes`, if it is one, where None.
        split: name of the class split in the JSON file, `own` for that of the shard set, or `random:SEED:UNSEEN`; None
            leaves open which classes are seen.
        seen_test_share: as the run that will use the table has it.

    Raises:
        UserError: unreadable files, classes that do not fit together, or a split that would need a shard set.
    """
    folder = classes if classes.is_dir() else shards
    data = ShardSet.open(folder) if folder else None
    file = classes if classes.suffix.lower() == ".json" else None
    described = _described(classes) if classes.suffix.lower() in {".yaml", ".yml"} else {}
    if not (classes.is_dir() or file or described):
        raise UserError(
            f"--classes={classes} must be a shard set, a JSON file of class splits or a YAML file of classes: correct it"
        )
    if split is None:
        if file:
            raise UserError(f"--classes={classes} needs --split: give the name of a class split")
        names = tuple(described) or (data.classes if data else ())
        return [Wanted(names, _described_by(names, described), "", 0, None)]
    found = _split(data, file, split)
    by = _described_by((*found.seen, *found.unseen), described)
    final = _of_split(data, found, seen_test_share, None, by)
    try:
        return [final, *(_of_split(data, found, seen_test_share, partition, by) for partition in range(PARTITIONS))]
    except UserError:  # too few classes or images for a validation run, which says so itself
        return [final]


def _of_split(data: ShardSet | None, split: Split, share: float, partition: int | None, by: Mapping[str, str]) -> Wanted:
    if data is None:
        held = () if partition is None else third(split.seen, partition)
        kept = tuple(name for name in split.seen if name not in held)
        return Wanted((*kept, *(held or split.unseen)), by, split.name, len(kept), None)
    sets = image_sets(data, split, share, ValidationConfig.model_validate({"partition": partition}))
    return Wanted(sets.classes, by, split.name, sets.n_seen, (data, sets))


def _split(data: ShardSet | None, file: Path | None, name: str) -> Split:
    if data is not None:
        return find_split(data, file, name)
    if file is None or name.startswith(RANDOM):
        raise UserError(f"--split={name} depends on a shard set: give it with --shards")
    return load_split(file, name)


def _described_by(names: tuple[str, ...], described: Mapping[str, str]) -> dict[str, str]:
    own: dict[str, str] = {}
    for name, text in described.items():
        meant = matching(name, names)
        if meant is None:
            raise UserError(f"a description is given for {name!r}, which the split has not: {unknown(name, names)}")
        if meant in own:
            raise UserError(f"two descriptions are given for {meant!r}, one of them as {name!r}: remove one")
        own[meant] = text
    return {name: own.get(name) or words(name) for name in names}


def _described(path: Path) -> dict[str, str]:
    described = checked(_Described, read_mapping(path), path).root
    return {name: (text or "").strip() for name, text in described.items()}
