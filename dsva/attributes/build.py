"""Attribute tables from a CLIP model: how well the attributes' prompts fit a class's prompts, or its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsva.attributes.classes import Wanted
from dsva.attributes.rows import Floats, finished, predicted
from dsva.attributes.vocabulary import Vocabulary
from dsva.config import DataConfig
from dsva.model.prompts import TextTower
from dsva.pixels import eval_pixels
from dsva.protocol.attribute_table import AttributeTable
from dsva.protocol.image_sets import ImageSets, key_hashes
from dsva.protocol.table_provenance import Mode, Rows, TableProvenance, gaps
from shards.errors import UserError
from shards.hashing import EXEMPLARS
from shards.index import ShardSet
from shards.loader import Loader, common_side
from shards.order import Ids, Sequential

BATCH = 64
LOOKING = ("seen-images", "exemplars")
MEANINGS = {
    "sentences": "embedding of the class prompts",
    "text": "cosine of the class prompts and the attribute prompts",
    "seen-images": "mean cosine of the seen classes' training images and the attribute prompts, and for other classes what their "
    "prompts predict",
    "exemplars": "mean cosine of images and the attribute prompts, for the unseen classes too",
}


@dataclass(frozen=True)
class Recipe:
    """How rows are made, see `TableProvenance`; `exemplars` is the images of each unseen class, in that mode."""

    mode: Mode
    rows: Rows
    exemplars: int = 5

    @property
    def of_seen(self) -> bool:
        """Whether rows depend on which classes are seen, so that a validation run needs others than the final run."""
        return self.rows == "standardised" or self.mode in LOOKING


def build(tower: TextTower, name: str, vocabulary: Vocabulary, wanted: Sequence[Wanted], recipe: Recipe) -> AttributeTable:
    """Make a table, in the order of the final run's `names`; `name` says which model it is.

    Args:
        tower: the CLIP model.
        name: its hub id or folder.
        vocabulary: attributes and templates; for `sentences` only the classes' templates matter.
        wanted: classes and, for the modes that look at images, the images: of the final run, then of its validation runs.
        recipe: how rows are made.

    Raises:
        UserError: the recipe needs to know which classes are seen, or images that there are not.
    """
    runs = wanted if recipe.of_seen else wanted[:1]
    for run in runs:
        _check(run, recipe)
    chosen = [_chosen(run, recipe) for run in runs]
    described, asked = runs[0].described, recipe.mode != "sentences"
    texts = dict(zip(described, _array(tower.embed(list(described.values()), vocabulary.class_templates)), strict=True))
    width = int(tower.model.config.projection_dim)
    attributes = _array(tower.embed(vocabulary.names, vocabulary.attribute_templates)) if asked else np.eye(width)
    names = vocabulary.names if asked else tuple(f"dimension {place + 1}" for place in range(width))
    groups = _groups(vocabulary) if asked else {"sentence embedding": tuple(range(width))}
    looks = _mean_images(tower, runs[0].images[0], chosen) if runs[0].images and any(chosen) else [None] * len(runs)
    provenance = _provenance(tower, name, vocabulary, recipe, described)
    meaning = f"{MEANINGS[recipe.mode]} ({recipe.rows} rows)"
    tables = []
    for run, ids, seen in zip(runs, chosen, looks, strict=True):
        matrix = _rows(run, recipe, texts, attributes, seen)
        made = provenance.model_copy(update=_known(run, recipe, ids))
        tables.append(AttributeTable(Path(), run.names, names, groups, matrix, meaning, "", made))
    return replace(tables[0], validation=tuple(tables[1:]))


def _rows(
    run: Wanted, recipe: Recipe, texts: Mapping[str, Floats], attributes: Floats, looks: Floats | None
) -> NDArray[np.float32]:
    """Return the rows of a run's classes, [C, K]; `looks`, where there are images, is their mean embedding by class."""
    classes, seen = np.stack([texts[name] for name in run.names]), slice(run.n_seen)
    strengths = (classes if looks is None else looks) @ attributes.T
    if looks is not None and recipe.mode == "seen-images":
        strengths = np.concatenate([strengths, predicted(classes[seen], strengths, classes[run.n_seen :])])
    return finished(strengths, recipe.rows, seen)


def _groups(vocabulary: Vocabulary) -> dict[str, tuple[int, ...]]:
    ends = np.cumsum([0, *(len(members) for members in vocabulary.groups.values())]).tolist()
    return {group: tuple(range(ends[i], ends[i + 1])) for i, group in enumerate(vocabulary.groups)}


def _provenance(
    tower: TextTower, name: str, vocabulary: Vocabulary, recipe: Recipe, described: Mapping[str, str]
) -> TableProvenance:
    return TableProvenance(
        mode=recipe.mode,
        clip=name,
        clip_sha256=tower.sha256(),
        class_templates=vocabulary.class_templates,
        attribute_templates=vocabulary.attribute_templates if recipe.mode != "sentences" else (),
        described=dict(described),
        rows=recipe.rows,
    )


def _known(run: Wanted, recipe: Recipe, chosen: Mapping[str, Ids]) -> dict[str, Any]:
    """Return what a provenance says of the classes and images that a run's rows know."""
    data = run.images[0] if run.images and chosen else None
    seen = run.names[: run.n_seen]
    return {
        "split": run.split,
        "seen": seen,
        "unseen": run.names[run.n_seen :] if seen else (),
        "data_digest": data.digest if data else "",
        "images": {each: gaps(ids) for each, ids in chosen.items()},
        "statistics": seen if recipe.rows == "standardised" else (),
    }


def _check(run: Wanted, recipe: Recipe) -> None:
    if recipe.rows == "standardised" and not run.n_seen:
        raise UserError("--rows=standardised takes mean and deviation over the seen classes: give --split, or another --rows")
    if recipe.mode in LOOKING and run.images is None:
        raise UserError(f"--mode={recipe.mode} looks at images of the seen classes: give --shards and --split, or --mode text")
    if recipe.mode == "exemplars" and run.images is not None:
        sets = run.images[1]
        counts = np.bincount(sets.labels[sets.unseen_test], minlength=len(sets.classes))[sets.n_seen :]
        if counts.min() <= recipe.exemplars:
            few = sets.unseen[int(counts.argmin())]
            raise UserError(f"--exemplars={recipe.exemplars} leaves no test image of {few!r}, which has {counts.min()}: lower it")


def _chosen(run: Wanted, recipe: Recipe) -> Mapping[str, Ids]:
    """Return, by class, the images that its row is made from: training images, and exemplars of the unseen classes."""
    if recipe.mode not in LOOKING or run.images is None:
        return {}
    data, sets = run.images
    found = {name: sets.train[sets.labels[sets.train] == place] for place, name in enumerate(sets.seen)}
    return found | (_exemplars(data, sets, recipe.exemplars) if recipe.mode == "exemplars" else {})


def _exemplars(data: ShardSet, sets: ImageSets, count: int) -> dict[str, Ids]:
    found = {}
    for place, name in enumerate(sets.unseen, sets.n_seen):
        ids = sets.unseen_test[sets.labels[sets.unseen_test] == place]
        found[name] = np.sort(ids[np.argsort(key_hashes(data, ids, EXEMPLARS), kind="stable")[:count]])
    return found


def _mean_images(tower: TextTower, data: ShardSet, chosen: Sequence[Mapping[str, Ids]]) -> list[Floats]:
    """Return, for each choice of images, the mean embedding of each class's images, [C, E].

    The cosines of a mean with a prompt are the images' mean cosines. Each image is embedded once for all choices.
    """
    every = np.unique(np.concatenate([ids for each in chosen for ids in each.values()]))
    members = [np.full(len(every), -1) for _ in chosen]
    for rows, each in zip(members, chosen, strict=True):
        for row, ids in enumerate(each.values()):
            rows[np.searchsorted(every, ids)] = row
    size = tower.image_size
    config = DataConfig(image_size=size, resize=size)
    order = Sequential(every, BATCH)
    sums = [np.zeros((len(each), int(tower.model.config.projection_dim))) for each in chosen]
    for batch in Loader(data, order, common_side(data, size)).batches(0, order.steps):
        pixels = eval_pixels(torch.from_numpy(batch.images).to(tower.device), config)
        embedded = _array(tower.images(pixels))
        for total, rows in zip(sums, members, strict=True):
            mine = rows[batch.positions + batch.step * BATCH]
            np.add.at(total, mine[mine >= 0], embedded[mine >= 0])
    return [total / np.bincount(rows[rows >= 0])[:, None] for total, rows in zip(sums, members, strict=True)]


def _array(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.cpu().double().numpy())
