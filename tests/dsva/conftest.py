"""Fixtures shared by the tests of dsva."""

from pathlib import Path

import pytest
from small_runs import small_run


@pytest.fixture(scope="session")
def run_dir(aid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run with regions; tests read it and write nothing there. Beside it: images/, shards/, splits.json."""
    return small_run(aid, tmp_path_factory.mktemp("small"), ["model.regions=true"])
