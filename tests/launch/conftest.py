"""Runs of a second, for the tests of what starts them."""

import pytest

from shards.pack import pack
from shards.sources import open_source
from tests.helpers.drawn import draw

TINY = ["model.width=16", "model.layers=1", "model.heads=2", "model.mlp=16", "model.patch=16", "train.steps=2"]
TINY += ["data.image_size=32", "data.resize=32", "data.batch_size=8", "data.workers=1", "data.prefetch=1"]


@pytest.fixture(scope="session")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of runs that take a second, on 4 images of each of AID's classes."""
    folder = tmp_path_factory.mktemp("scenes")
    return [*TINY, f"data.shards={pack(open_source(draw(folder / 'DATA', 4)), folder / 'SET', resize=32).shards.root}"]
