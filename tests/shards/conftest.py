"""A small folder of real images, and the set packed from it."""

import shutil
from pathlib import Path

import pytest

from shards.pack import pack
from shards.sources import open_source

CLASSES, EACH = ("Airport", "Beach", "Port"), 6
SHARD_BYTES = 100_000


@pytest.fixture
def images(aid: Path, tmp_path: Path) -> Path:
    """Folder `DATA` with 6 images in each of 3 class folders."""
    for name in CLASSES:
        folder = tmp_path / "DATA" / name
        folder.mkdir(parents=True)
        for path in sorted((aid / "images" / name).iterdir())[:EACH]:
            shutil.copy(path, folder)
    return tmp_path / "DATA"


@pytest.fixture
def packed(images: Path, tmp_path: Path) -> Path:
    """The set of `images`, in several shards."""
    return pack(open_source(images), tmp_path / "SET", shard_bytes=SHARD_BYTES).shards.root
