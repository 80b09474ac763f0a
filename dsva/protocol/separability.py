"""What an attribute table cannot tell apart: classes whose rows are equal, and attributes that do not vary."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dsva.protocol.attribute_table import AttributeTable
from dsva.protocol.image_sets import ImageSets
from shards.errors import UserError

if TYPE_CHECKING:  # looking at a table needs no model
    from dsva.model.scores import ClassRows

NAMED = 8  # names in a sentence, at most
DECIMALS = 6  # of rows whose largest strength is 1; what differs less is equal


def check_rows(table: AttributeTable, sets: ImageSets, rows: "ClassRows") -> ImageSets:
    """Return the sets, with warnings of the classes and attributes that no score will tell apart.

    Args:
        table: of the run.
        sets: its classes.
        rows: of these classes, as scores meet them.

    Raises:
        UserError: all seen classes have the same row, so that there is nothing to learn, or strengths are too large.
    """
    if not rows.values.isfinite().all():
        raise UserError(f"{table.path}: strengths are too large to be standardised in float32: give them in another unit")
    same = unvarying(rows.values[: sets.n_seen].numpy())
    if len(same) == len(table.names):
        raise UserError(
            f"{table.path}: no attribute tells the seen classes ({sets.n_seen}) apart, so there is nothing to learn: "
            "give rows that differ more, or a split with more seen classes"
        )
    told = [
        f"{table.path.name} has equal rows for {listed(group)}: no score can tell these classes apart"
        for group in alike(rows.compared(rows.values).numpy(), sets.classes)
    ]
    if same:
        names = listed([table.names[place] for place in same])
        told.append(
            f"{table.path.name} has {len(same)} of {len(table.names)} attributes that are the same in all seen classes, from which "
            f"nothing can be learned: {names}"
        )
    return replace(sets, warnings=(*sets.warnings, *told))


def alike(rows: NDArray[np.floating], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the names of rows [C, K] that are equal, group by group, in their order."""
    scaled = np.round(rows / (np.abs(rows).max() or 1), DECIMALS)
    _, places = np.unique(scaled, axis=0, return_inverse=True)
    groups: dict[int, list[str]] = {}
    for name, place in zip(names, places.ravel().tolist(), strict=True):
        groups.setdefault(place, []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def unvarying(rows: NDArray[np.floating]) -> list[int]:
    """Return the columns of rows [C, K] that are the same in all of them."""
    return [int(place) for place in np.flatnonzero((rows == rows[0]).all(0))]


def listed(names: Sequence[str]) -> str:
    """Return names as part of a sentence, the first few of many."""
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
