"""Runs of a second, for the tests of what starts them."""

import shutil
from pathlib import Path

import pytest

from shards.pack import pack
from shards.sources import open_source

TINY = ["model.width=16", "model.layers=1", "model.heads=2", "model.mlp=16", "model.patch=16", "train.steps=2"]
TINY += ["data.image_size=32", "data.resize=32", "data.batch_size=8", "data.workers=1", "data.prefetch=1"]


@pytest.fixture(scope="session")
def overrides(aid: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of runs that take a second, on 4 images of each class of AID."""
    images = tmp_path_factory.mktemp("scenes")
    for folder in (aid / "images").iterdir():
        (images / "DATA" / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:4]:
            shutil.copy(image, images / "DATA" / folder.name)
    return [*TINY, f"data.shards={pack(open_source(images / 'DATA'), images / 'SET', resize=32).shards.root}"]
