"""The classes that images are sorted into: any of the run's attribute table, and new ones that a file describes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, RootModel

from dsva.json_files import Name, checked, read_json, unknown
from dsva.protocol.attribute_table import AttributeTable, load
from dsva.protocol.image_sets import ImageSets
from shards.errors import UserError
from shards.names import alias, matching, same_names

_LARGEST = float(np.finfo(np.float32).max)
Strengths = Mapping[str, float]  # by attribute


class _Rows(RootModel[dict[Name, dict[str, Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]]]]):
    """New classes as a file has them."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Classes by name, [C], and their attributes, [C, K] float32, as strong as an attribute table says them.

    `made` says of new classes where their rows come from.
    """

    names: tuple[str, ...]
    strengths: NDArray[np.float32]
    made: Mapping[str, str] = field(default_factory=dict)


def candidates(table: AttributeTable, sets: ImageSets, names: Sequence[str] = (), new: Sequence[Candidates] = ()) -> Candidates:
    """Gather candidate classes.

    Args:
        table: of the run.
        sets: of the run.
        names: classes of the table, or `seen` or `unseen` for those of the run; none takes all classes of the run,
            or, where there are new ones, no other.
        new: classes that the table has not.

    Raises:
        UserError: a class that is not in the table, or one named twice.
    """
    chosen = named(
        names or (() if new else ("seen", "unseen")),
        {"seen": sets.seen, "unseen": sets.unseen},
        lambda name: matching(name, sets.classes) or table.own_name(name),
    )
    every = distinct((*chosen, *(name for each in new for name in each.names)))
    made = {name: text for each in new for name, text in each.made.items()}
    return Candidates(every, np.concatenate([table.rows(chosen), *(each.strengths for each in new)]), made)


def named(names: Sequence[str], sets: Mapping[str, Sequence[str]], own_name: Callable[[str], str]) -> list[str]:
    """Return the classes that are meant, where some names stand for whole sets of them; `own_name` finds the others."""
    return [each for name in names for each in sets.get(name) or (own_name(name),)]


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of candidates.

    Raises:
        UserError: two of them are one.
    """
    if same := same_names(names):
        raise UserError(f"the candidates {same[0]!r} and {same[1]!r} are one class: leave one of them out, or rename it")
    return names


def read_rows(path: Path, table: AttributeTable) -> Candidates:
    """Read classes that the table has not: any attribute table, or JSON {class: {attribute: strength}}.

    Every attribute of the run's table must have a strength, on that table's own scale; the order is free.

    Raises:
        UserError: unreadable, an attribute missing or unknown, or a strength that is no finite number.
    """
    plain = read_json(path)[0] if path.suffix.lower() == ".json" else {}
    described = checked(_Rows, plain, path).root if plain and "matrix" not in plain else _from_table(load(path))
    made = {name: f"from {path}" for name in described}
    return Candidates(tuple(described), np.stack([_row(path, name, row, table) for name, row in described.items()]), made)


def _from_table(given: AttributeTable) -> dict[str, dict[str, float]]:
    return {name: dict(zip(given.names, row.tolist(), strict=True)) for name, row in zip(given.classes, given.matrix, strict=True)}


def _row(path: Path, name: str, row: Strengths, table: AttributeTable) -> NDArray[np.float32]:
    given = {alias(attribute): strength for attribute, strength in row.items()}
    known = {alias(attribute) for attribute in table.names}
    for attribute in row:
        if alias(attribute) not in known:
            near = unknown(attribute, table.names)
            raise UserError(f"{path}: class {name!r} has the attribute {attribute!r}, {table.path} has not: {near}")
    for attribute in table.names:
        if alias(attribute) not in given:
            raise UserError(f"{path}: class {name!r} has no number for {attribute!r}: give all {len(table.names)} attributes one")
    return np.array([given[alias(attribute)] for attribute in table.names], np.float32)
