"""A real Slurm for the tests: slurm/dev/up in a folder of its own, once a session."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import DEV, PROGRAMS, Cluster, free_ports

from shards.pack import pack
from shards.sources import open_source

IMAGES_PER_CLASS = 5


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
def scenes(aid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard set of a few small images of each class of AID."""
    images = tmp_path_factory.mktemp("scenes")
    for folder in (aid / "images").iterdir():
        copies = images / "DATA" / folder.name
        copies.mkdir(parents=True)
        for image in sorted(folder.iterdir())[:IMAGES_PER_CLASS]:
            shutil.copy(image, copies)
    return pack(open_source(images / "DATA"), images / "SET", resize=32).shards.root
