"""The commands of docs/slurm.md as they stand there, on a few drawn scenes and for few steps. 60 seconds on two processors."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.jobs.folder import JobFolder
from tests.helpers.slurm_cluster import ROOT, TINY, Cluster, until

# What the development cluster has not, and how many processors its nodes have.
CHANGED = {"--gpus-per-node 8": "", "rtx4090.yaml": "cpu.yaml", "--workers 8": "--workers 1", " --watch": ""}
SWEEP = "config: ../aid_25_5.yaml\nsplits: {25_5: {}}\nprotocols: {ZSL: {}}\ncluster: {cpus_per_task: 1, memory_gb: 3}\n"


def commands() -> dict[str, list[str]]:
    """The lines of the fenced blocks, by the words that they begin with."""
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "docs" / "slurm.md").read_text(), re.DOTALL | re.MULTILINE)
    text = "".join(blocks).replace("\\\n", "")
    for known, instead in CHANGED.items():
        assert known in text
        text = text.replace(known, instead)
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        _, *words = shlex.split(line)
        found.setdefault(" ".join(words[: 2 if words[0] in ("sweep", "shards") else 1]), []).append(line)
    return found


@pytest.fixture
def workplace(cluster: Cluster, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as the page's reader has it, on a cluster with the partitions that it names."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "configs" / "sweeps" / "aid.yaml").write_text(SWEEP)
    # CLIP and RSSDIVCS are not here.
    shutil.copy(tmp_path / "configs" / "aid_25_5.yaml", tmp_path / "configs" / "rssdivcs.yaml")
    (tmp_path / "SHARDS").mkdir()
    for name in ("aid", "60_10"):
        (tmp_path / "SHARDS" / name).symlink_to(scenes)
    (tmp_path / "DATA").mkdir()
    (tmp_path / "DATA" / "images").symlink_to(scenes.parent / "DATA")
    monkeypatch.chdir(tmp_path)
    for name in ("gpu", "cpu"):
        cluster.run("scontrol", "create", f"PartitionName={name}", "Nodes=ALL", "State=UP")
    yield tmp_path
    until(cluster.idle, "an empty queue")
    for name in ("gpu", "cpu"):
        cluster.run("scontrol", "delete", f"PartitionName={name}")


def test_every_command_of_the_page(cluster: Cluster, workplace: Path) -> None:
    page, training = commands(), [*TINY, "train.steps=2"]

    def dsva(kind: str, *more: str) -> list[str]:
        return [cluster.dsva(*shlex.split(line)[1:], *more) for line in page.pop(kind)]

    dsva("submit", *training)
    dsva("sweep start", *training)
    packing = page["pack"]
    dsva("pack")
    assert len(dsva("doctor")) == 2
    until((workplace / "SHARDS" / "big").exists, "the set")
    page["pack"] = packing
    assert "150 images of 30 classes" in dsva("pack")[0]
    verifying = page["shards verify"]
    dsva("shards verify")
    (cell,) = (JobFolder(path) for path in (workplace / "RUNS" / "aid" / "cells").iterdir())
    until(cell.done, "the sweep's cell", 120)
    until(JobFolder(workplace / "RUNS" / "a").done, "the run", 120)
    until(cluster.idle, "an empty queue")
    page["shards verify"] = verifying
    assert "every byte is as it was packed" in dsva("shards verify")[0]
    for kind in [kind for kind in page if kind.startswith("sweep")]:
        dsva(kind)
    assert (workplace / "RUNS" / "aid").is_dir()
    dsva("report")
    assert page == {}, "every command was tried"
