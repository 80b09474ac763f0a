"""A small folder of images, and the set packed from it."""

from pathlib import Path

import pytest

from shards.pack import pack
from shards.sources import open_source
from tests.helpers.drawn import draw

CLASSES, EACH = ("Airport", "Beach", "Port"), 6
SHARD_BYTES = 100_000


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Folder `DATA` with 6 images in each of 3 class folders."""
    return draw(tmp_path / "DATA", EACH, CLASSES)


@pytest.fixture
def packed(images: Path, tmp_path: Path) -> Path:
    """The set of `images`, in several shards."""
    return pack(open_source(images), tmp_path / "SET", shard_bytes=SHARD_BYTES).shards.root
