"""What an attribute table must not know: checks that refuse it, by how the table says that it was made.

A row of an unseen class may come from text and from the seen classes' training images, and from nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dsva.config import EvalConfig
from dsva.protocol.attribute_table import AttributeTable
from dsva.protocol.class_splits import Split
from dsva.protocol.image_sets import ImageSets
from dsva.protocol.table_provenance import TableProvenance
from shards.errors import UserError
from shards.index import ShardSet
from shards.names import alias

STANDARDISED = 1e-4  # a mean this near to 0 and a deviation this near to 1, in every column, are no accident


def check_table(table: AttributeTable, split: Split, data: ShardSet, sets: ImageSets, config: EvalConfig) -> ImageSets:
    """Refuse a table that would leak the test into the classes' rows.

    Args:
        table: of the run.
        split: its classes; a validation run's final ones.
        data: its images.
        sets: which of them train and which test.
        config: whose `protocol` may allow exemplars.

    Returns:
        The sets with a warning of what is to be known of the table; without the exemplars, which do not test.

    Raises:
        UserError: rows of unseen classes that were made from images of unseen classes (unless `protocol` is `exemplars`), rows
            made from other test images, or a mean and deviation over unseen classes.
    """
    others = [f"{own!r} for {name!r}" for name in sets.classes if (own := table.own_name(name)) != name]
    if others:
        sets = _with(sets, f"rows are taken although {table.path} spells their classes otherwise: {', '.join(others)}")
    if table.provenance is None:
        _refuse_standardised(table)
        if config.protocol == "exemplars":
            raise UserError(f"eval.protocol=exemplars, but {table.path} does not record any exemplars: give honest")
        told = f"is told and cannot be checked: {table.meaning}" if table.meaning else "is not told"
        return _with(sets, f"how the rows of {table.path.name} were made {told}")
    _refuse_statistics(table, table.provenance, (*split.unseen, *sets.unseen))
    with_exemplars = _with_exemplars(table, table.provenance, {*split.unseen, *sets.unseen}, config.protocol == "exemplars")
    if table.provenance.images and table.provenance.data_digest != data.digest:
        raise UserError(
            f"{table.path} was made from images of another shard set than {data.root}, which cannot be told from the test images: "
            "build it again with this one"
        )
    exemplars = table.provenance.samples(with_exemplars)
    left = np.setdiff1d(sets.unseen_test, exemplars)
    used = np.intersect1d(np.concatenate([sets.seen_test, left]), table.provenance.samples(table.provenance.images))
    if len(used):
        raise UserError(
            f"{table.path}: rows were made from {len(used)} test images, such as {data.key(int(used[0]))}: "
            "build it with this run's --split and --seen-test-share"
        )
    if not len(exemplars):
        return sets
    notice = f"NOT ZERO-SHOT: the rows of the unseen classes were made from {len(exemplars)} of their images, which do not test"
    return _with(replace(sets, unseen_test=left), notice)


def _refuse_standardised(table: AttributeTable) -> None:
    mean, deviation = table.matrix.mean(0, dtype=np.float64), table.matrix.std(0, dtype=np.float64)
    constant = deviation < STANDARDISED
    done = (np.abs(mean) < STANDARDISED) & (constant | (np.abs(deviation - 1) < STANDARDISED))
    if done.all() and not constant.all():
        raise UserError(
            f"{table.path}: every attribute has mean 0 and deviation 1 over all {len(table.classes)} classes, so the unseen "
            "ones had a part in the statistics: give the rows as they were before"
        )


def _refuse_statistics(table: AttributeTable, provenance: TableProvenance, unseen: Iterable[str]) -> None:
    aliases = {alias(name) for name in unseen}
    if shared := [name for name in provenance.statistics if alias(name) in aliases]:
        raise UserError(
            f"{table.path}: mean and deviation were taken over {shared[0]!r} too, which is unseen in this run: build it with this "
            "run's --split"
        )


def _with_exemplars(table: AttributeTable, provenance: TableProvenance, unseen: Iterable[str], allowed: bool) -> Sequence[str]:
    """Return the unseen classes whose rows were made from images of them."""
    aliases = {alias(name) for name in unseen}
    found = [name for name, images in provenance.images.items() if images and alias(name) in aliases]
    if found and not allowed:
        raise UserError(
            f"{table.path}: the row of the unseen class {found[0]!r} was made from {len(provenance.samples(found[:1]))} images of "
            "it, which is not zero-shot: build it with this run's --split in another --mode, or give eval.protocol=exemplars, "
            "and every table will say so"
        )
    if allowed and not found:
        raise UserError(f"eval.protocol=exemplars, but {table.path} has none of unseen classes: give honest")
    return found


def _with(sets: ImageSets, warning: str) -> ImageSets:
    return replace(sets, warnings=(*sets.warnings, warning))
