"""Describing a shard set."""

from dataclasses import dataclass

import numpy as np

from shards.duplicates import Duplicates, find_duplicates
from shards.index import ShardSet


@dataclass(frozen=True)
class Info:
    """What a set holds.

    Attributes:
        digest: identity of the set's data.
        samples: number of images.
        classes: name and number of images of every class, in the order of the labels.
        splits: name and number of images of every split; "" are images without one.
        shards: number of tars.
        tar_bytes: size of all tars.
        image_bytes: size of all images.
        width: smallest and largest, in pixels.
        height: smallest and largest, in pixels.
        duplicates: images that occur more than once.
    """

    digest: str
    samples: int
    classes: dict[str, int]
    splits: dict[str, int]
    shards: int
    tar_bytes: int
    image_bytes: int
    width: tuple[int, int]
    height: tuple[int, int]
    duplicates: Duplicates


def info(shards: ShardSet) -> Info:
    """Describe an opened set."""
    records = shards.records
    of_class, of_split = (
        np.bincount(records[column], minlength=len(names))
        for column, names in (("label", shards.classes), ("split", shards.splits))
    )
    width, height = ((int(records[side].min()), int(records[side].max())) for side in ("width", "height"))
    return Info(
        digest=shards.digest,
        samples=len(shards),
        classes={name: int(count) for name, count in zip(shards.classes, of_class, strict=True)},
        splits={name: int(count) for name, count in zip(shards.splits, of_split, strict=True) if count},
        shards=len(shards.shards),
        tar_bytes=sum(shard.size for shard in shards.shards),
        image_bytes=int(records["length"].sum(dtype=np.uint64)),
        width=width,
        height=height,
        duplicates=find_duplicates(shards),
    )
