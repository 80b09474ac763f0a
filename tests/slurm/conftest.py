"""A real Slurm for the tests: slurm/dev/up in a folder of its own, once a session."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.pack import pack
from shards.sources import open_source
from tests.helpers.drawn import NAMES, draw, scene
from tests.helpers.slurm_cluster import DEV, PROGRAMS, Cluster, free_ports

IMAGES_PER_CLASS, MANY = 5, 120


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        (pytest.fail if os.environ.get("DSVA_TEST_EVERYTHING") else pytest.skip)(
            f"Slurm is not installed here ({', '.join(missing)}): slurm/dev/install installs it"
        )
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))}
    environment |= {"SLURM_DEV": str(folder), "SLURM_CONF": str(folder / "etc" / "slurm.conf"), "PORT": str(free_ports())}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["COLUMNS"] = "200"
    try:
        subprocess.run([DEV / "up"], env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL)
        yield Cluster(environment)
    finally:
        subprocess.run([DEV / "down", "--remove"], env=environment, check=True, timeout=120)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard set of a few small images of each of AID's classes."""
    folder = tmp_path_factory.mktemp("scenes")
    return pack(open_source(draw(folder / "DATA", IMAGES_PER_CLASS)), folder / "SET", resize=32).shards.root


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 3,600 images, which take a while to pack: each scene lies there 24 times."""
    images = tmp_path_factory.mktemp("many")
    for name in NAMES:
        (images / name).mkdir()
        for number in range(MANY):
            (images / name / f"{number:03d}.jpg").write_bytes(scene(name, 1 + number % IMAGES_PER_CLASS))
    return images
