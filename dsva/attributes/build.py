"""Attribute tables from a CLIP model: how well the attributes' prompts fit a class's prompts, or its images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from dsva.attributes.classes import Wanted
from dsva.attributes.rows import Floats, finished, predicted
from dsva.attributes.vocabulary import Vocabulary
from dsva.config import DataConfig
from dsva.pixels import test_pixels
from dsva.zeroshot.attributes import AttributeTable
from dsva.zeroshot.classes import ImageSets, key_hashes
from dsva.zeroshot.origin import Mode, Origin, Rows
from dsva.zeroshot.prompts import TextTower
from shards.errors import UserError
from shards.index import ShardSet
from shards.loader import Loader, common_side
from shards.order import EXEMPLARS, Ids, Sequential

BATCH = 64
MEANINGS = {
    "text": "cosine of the class prompts and the attribute prompts",
    "seen-images": "mean cosine of the seen classes' training images and the attribute prompts, and for other classes what their "
    "prompts predict",
    "exemplars": "mean cosine of images and the attribute prompts, for the unseen classes too",
}


def build(
    tower: TextTower, name: str, vocabulary: Vocabulary, wanted: Wanted, mode: Mode, rows: Rows, exemplars: int
) -> AttributeTable:
    """Make a table, in the order of `wanted.names`; `name` says which model it is.

    Args:
        tower: the CLIP model.
        name: its hub id or folder.
        vocabulary: attributes and templates.
        wanted: classes and, for the modes that look at images, the images.
        mode: what the rows are made from, see `Origin`.
        rows: what is done to them in the end; `standardised` takes its statistics from the seen classes.
        exemplars: images of each unseen class, in the mode of that name.

    Raises:
        UserError: the mode or `rows` needs to know which classes are seen, or images that there are not.
    """
    _check(wanted, mode, rows, exemplars)
    classes = _array(tower.embed(list(wanted.described.values()), vocabulary.class_templates))
    attributes = _array(tower.embed(vocabulary.names, vocabulary.attribute_templates))
    chosen = _chosen(wanted, mode, exemplars)
    seen, n = slice(wanted.n_seen), wanted.n_seen
    strengths = classes @ attributes.T
    if wanted.images and chosen:
        looks = _mean_images(tower, wanted.images[0], chosen) @ attributes.T
        strengths = np.concatenate([looks, predicted(classes[seen], looks[seen], classes[n:])]) if mode == "seen-images" else looks
    origin = _origin(tower, name, vocabulary, wanted, mode, rows, chosen)
    ends = np.cumsum([0, *(len(members) for members in vocabulary.groups.values())]).tolist()
    groups = {group: tuple(range(ends[i], ends[i + 1])) for i, group in enumerate(vocabulary.groups)}
    meaning = f"{MEANINGS[mode]} ({rows} rows)"
    return AttributeTable(Path(), wanted.names, vocabulary.names, groups, finished(strengths, rows, seen), meaning, "", origin)


def _origin(
    tower: TextTower, name: str, vocabulary: Vocabulary, wanted: Wanted, mode: Mode, rows: Rows, chosen: Mapping[str, Ids]
) -> Origin:
    data = wanted.images[0] if wanted.images and chosen else None
    seen = wanted.names[: wanted.n_seen]
    return Origin(
        mode=mode,
        clip=name,
        clip_sha256=tower.sha256(),
        class_templates=vocabulary.class_templates,
        attribute_templates=vocabulary.attribute_templates,
        described=dict(wanted.described),
        split=wanted.split,
        seen=seen,
        unseen=wanted.names[wanted.n_seen :] if seen else (),
        data_digest=data.digest if data else "",
        images={each: tuple(data.key(int(i)) for i in ids) for each, ids in chosen.items()} if data else {},
        rows=rows,
        statistics=seen if rows == "standardised" else (),
    )


def _check(wanted: Wanted, mode: Mode, rows: Rows, exemplars: int) -> None:
    if rows == "standardised" and not wanted.n_seen:
        raise UserError("--rows=standardised takes mean and deviation over the seen classes: give --split, or another --rows")
    if mode != "text" and wanted.images is None:
        raise UserError(f"--mode={mode} looks at images of the seen classes: give --shards and --split, or --mode text")
    if mode == "exemplars" and wanted.images is not None:
        sets = wanted.images[1]
        counts = np.bincount(sets.labels[sets.unseen_test], minlength=len(sets.classes))[sets.n_seen :]
        if counts.min() <= exemplars:
            few = sets.unseen[int(counts.argmin())]
            raise UserError(f"--exemplars={exemplars} leaves no test image of {few!r}, which has {counts.min()}: lower it")


def _chosen(wanted: Wanted, mode: Mode, exemplars: int) -> Mapping[str, Ids]:
    """Return, by class, the images that its row is made from: training images, and exemplars of the unseen classes."""
    if mode == "text" or wanted.images is None:
        return {}
    data, sets = wanted.images
    found = {name: sets.train[sets.labels[sets.train] == place] for place, name in enumerate(sets.seen)}
    return found | (_exemplars(data, sets, exemplars) if mode == "exemplars" else {})


def _exemplars(data: ShardSet, sets: ImageSets, count: int) -> dict[str, Ids]:
    found = {}
    for place, name in enumerate(sets.unseen, sets.n_seen):
        ids = sets.unseen_test[sets.labels[sets.unseen_test] == place]
        found[name] = np.sort(ids[np.argsort(key_hashes(data, ids, EXEMPLARS), kind="stable")[:count]])
    return found


def _mean_images(tower: TextTower, data: ShardSet, chosen: Mapping[str, Ids]) -> Floats:
    """Return the mean embedding of each class's images, [C, E]: its cosines with a prompt are the images' mean cosines."""
    ids = np.concatenate(list(chosen.values()))
    rows = np.repeat(np.arange(len(chosen)), [len(each) for each in chosen.values()])
    size = tower.image_size
    config = DataConfig(image_size=size, resize=size)
    order = Sequential(ids, BATCH)
    sums = np.zeros((len(chosen), int(tower.model.config.projection_dim)))
    for batch in Loader(data, order, common_side(data, size)).batches(0, order.steps):
        pixels = test_pixels(torch.from_numpy(batch.images).to(tower.device), config)
        np.add.at(sums, rows[batch.positions + batch.step * BATCH], _array(tower.images(pixels)))
    return sums / np.bincount(rows)[:, None]


def _array(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.cpu().double().numpy())
