"""Packing and verifying as job arrays. Half a minute on two processors."""

import os
import re
import shutil
import signal
from pathlib import Path

from launch.jobs.folder import JobFolder
from shards.index import ShardSet
from shards.pack import pack
from shards.sources import open_source
from tests.helpers.jobs import note
from tests.helpers.slurm_cluster import Cluster, until

SPREAD = ["--cluster=slurm", "--jobs=2", "--workers=1"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_and_stopped_tasks_go_on_to_the_bytes_of_a_local_pack_and_damage_is_found(
    cluster: Cluster, many: Path, tmp_path: Path
) -> None:
    target, notes = tmp_path / "SET", tmp_path / "SET.packing"
    command = ["pack", many, target, "--shard-mib=1", *SPREAD]
    printed = cluster.dsva(*command)
    assert re.search(r"packing .*SET: \d+ of \d\d shards finished; jobs: 2 ", printed), printed
    first, second = (JobFolder(notes / "parts" / f"{part:06d}") for part in range(2))
    until((tmp_path / "SET.partial" / "000000.json").exists, "a shard of the first part")
    os.kill(note(first, "heartbeat.json")["pid"], signal.SIGKILL)
    until((tmp_path / "SET.partial" / "000001.json").exists, "a shard of the second part")
    cluster.run("scancel", "--signal=USR2", note(JobFolder(notes), "queued.json")["jobs"][1])
    assert re.search(r" \d+ of \d\d shards finished; jobs: ", cluster.dsva(*command)), "how far it is"
    until(target.exists, "the set")
    until(cluster.idle, "an empty queue")
    assert note(first, "crashes.json")["count"] == 1
    assert not second.read("crashes.json"), "to be told to stop is no crash"
    assert [note(part, "done.json")["start"][-2:] for part in (first, second)] == ["-1", "-1"]
    assert "3,600 images of 30 classes" in cluster.dsva(*command)
    here = pack(open_source(many), tmp_path / "HERE", shard_bytes=1 << 20).shards
    assert contents(target) == contents(here.root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["HERE", "SET"]

    check = ["shards", "verify", target, *SPREAD, "--wait"]
    cluster.dsva(*check[:-1])
    cluster.run("scancel", *note(JobFolder(tmp_path / "SET.verifying"), "queued.json")["jobs"])
    until(cluster.idle, "an empty queue, after the jobs were cancelled")
    assert "every byte is as it was packed" in cluster.dsva(*check)
    tar = bytearray(here.path(0).read_bytes())
    tar[int(here.records["offset"][0]) + 9] ^= 1
    (target / here.path(0).name).write_bytes(tar)
    assert "1 kinds of damage" in cluster.fails(*check)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["HERE", "SET"]


def test_bad_images_are_told_as_here_and_can_be_skipped(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    target, source = tmp_path / "SET", tmp_path / "DATA"
    shutil.copytree(scenes.parent / "DATA", source)
    bad = min((source / "Port").iterdir())
    os.truncate(bad, 600)
    command = ["pack", source, target, *SPREAD]
    cluster.dsva(*command)
    until(cluster.idle, "the end")
    said = cluster.fails(*command)
    assert "1 images cannot be packed" in said
    assert bad.name in said
    assert "--skip-bad" in said
    assert not target.exists()
    assert f"skipped Port/{bad.name}" in cluster.told(*command, "--skip-bad")
    assert len(ShardSet.open(target)) == 149
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DATA", "SET"]
