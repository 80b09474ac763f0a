"""Fixtures shared by the tests of dsva."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.browser import Page, find_browser, open_browser
from tests.helpers.fork_server import ForkServer
from tests.helpers.noise import Noise, noise
from tests.helpers.process_groups import GroupServer
from tests.helpers.small_runs import small_run


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run with regions; tests read it and write nothing there. Beside it: images/, shards/, splits.json."""
    return small_run(tmp_path_factory.mktemp("small"), ["model.regions=true"])


@pytest.fixture(scope="session")
def dsva(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """The command line in processes of its own, without the seconds that Python takes to import torch."""
    server = ForkServer(tmp_path_factory.mktemp("outputs"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Noise:
    """96 pictures of noise in 8 classes, and a configuration that trains on them in a moment."""
    return noise(tmp_path_factory.mktemp("noise"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupServer]:
    """The command line in groups of processes, which have DeepSpeed and can be disturbed."""
    started = GroupServer(tmp_path_factory.mktemp("groups"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser; tests that need it are counted as skipped where none is installed."""
    if not find_browser():
        without = pytest.fail if os.environ.get("DSVA_TEST_EVERYTHING") else pytest.skip
        without("no Chromium is installed: apt-get install chromium")
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
