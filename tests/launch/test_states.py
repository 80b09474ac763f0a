"""What becomes of cells whose jobs ended without a word, as Slurm and its accounts have it."""

import json
import shutil
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch.jobs.folder import JobFolder
from launch.slurm.batch import ClusterConfig
from launch.slurm.client import HELD
from launch.submission import start
from launch.submission.start import Queued
from launch.sweep import keeper, state
from launch.sweep.keeper import Keeper, follow, keepers
from launch.sweep.plan import Cell, Manifest
from launch.sweep.state import State, folder_of, states
from shards.errors import UserError
from tests.helpers.jobs import note


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A sweep of one cell, queued as job 7_0, of which Slurm knows nothing."""
    sweep: dict[str, Any] = {"splits": {"25_5": {}}, "protocols": {"ZSL": {}}}
    cell = {"name": "a", "split": "25_5", "protocol": "ZSL", "seed": 0, "varied": {}, "steps": 9, "batch_size": 8, "identity": "1"}
    made = Manifest.model_validate({"sweep": sweep, "overrides": [], "cells": [cell]})
    folder_of(tmp_path, made.cells[0]).write("submitted.json", job="7_0", log="")
    monkeypatch.setattr(state, "queued", dict)
    monkeypatch.setattr(state, "accounted", lambda jobs: {})
    return made


def look(sweep: Path, manifest: Manifest) -> State:
    (found,) = states(sweep, manifest)
    return found


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("TIMEOUT", "reached its time limit; its checkpoint is of step 0"),
        ("CANCELLED by 0", "was cancelled; its checkpoint is of step 0"),
        ("OUT_OF_MEMORY", "ran out of memory; its checkpoint is of step 0"),
        ("STRANGE", "ended as STRANGE in the accounts of Slurm; its checkpoint is of step 0"),
    ],
)
def test_the_accounts_say_why(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, said: str) -> None:
    monkeypatch.setattr(state, "accounted", lambda jobs: {"7_0": ending})
    found = look(tmp_path, manifest)
    assert (found.name, found.reason) == ("FAILED", said)


@pytest.mark.parametrize(
    ("ending", "silent"), [("TIMEOUT", True), ("NODE_FAIL", True), ("FAILED", True), ("CANCELLED by 0", False), ("STRANGE", False)]
)
def test_only_what_slurm_ended_unasked_and_unexplained_is_silent(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, silent: bool
) -> None:
    monkeypatch.setattr(state, "accounted", lambda jobs: {"7_0": ending})
    assert look(tmp_path, manifest).silent == silent
    folder_of(tmp_path, manifest.cells[0]).fail("a reason", 1)
    assert not look(tmp_path, manifest).silent


def test_a_keeper_takes_a_cell_up_again_until_it_gets_no_further(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, taken, followed = folder_of(tmp_path, manifest.cells[0]), [], []
    monkeypatch.setattr(state, "accounted", lambda jobs: {"7_0": "TIMEOUT"})
    monkeypatch.setattr(keeper, "release", lambda *_: 0)

    def take(_: Path, cells: list[Cell], place: str, partition: str) -> list[str]:
        (folder.path / "kept.json").unlink(missing_ok=True)
        taken.append(([cell.name for cell in cells], place, partition))
        return []

    def queue(jobs: list[Keeper], name: str, _: Path, cluster: ClusterConfig, at_once: int) -> list[Queued]:
        followed.append((jobs, name, cluster.sbatch["dependency"], cluster.partition, cluster.gpus_per_node))
        return [Queued(str(8 + len(followed)), Path())]

    monkeypatch.setattr(keeper, "queue_cells", take)
    monkeypatch.setattr(start, "queue", queue)
    manifest.write(tmp_path)
    job = Keeper(tmp_path, "low")
    for count in (1, 2, 3):
        assert job() == 0
        assert note(folder, "kept.json")["count"] == count
    (folder.run / "checkpoints" / "step-00000004").mkdir(parents=True)
    job()
    assert note(folder, "kept.json")["count"] == 1, "it has got further"
    for _ in range(3):
        job()
    assert taken == [(["a"], "slurm", "low")] * 6
    assert followed == [([job], f"{tmp_path.name}-keeper", "afterany:7", "low", 0)] * 6
    assert "reached its time limit" in note(folder, "failed.json")["reason"]
    assert "taken up again 3 times without getting further" in note(folder, "failed.json")["reason"]
    monkeypatch.setattr(keeper, "queued", lambda: {"9": ("PENDING", "Dependency")})
    assert keepers(tmp_path) == ["9"]


def test_a_cluster_that_wants_no_keeper_gets_none_and_it_is_said(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: StringIO
) -> None:
    def refuse(*_: object) -> list[str]:
        raise UserError("sbatch refuses: no GPU")

    monkeypatch.setattr(start, "queue", refuse)
    manifest.write(tmp_path)
    follow(tmp_path, ["7_0"], None)
    assert "(sbatch refuses: no GPU): `dsva sweep retry` does it by hand" in said.getvalue()
    assert keepers(tmp_path) == []


def test_a_job_that_only_the_accounts_know_is_lost_after_a_while(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "accounted", lambda jobs: {"7_0": "RUNNING"})
    assert look(tmp_path, manifest).name == "PENDING"
    note = JobFolder(tmp_path / "cells" / "a").path / "submitted.json"
    note.write_text(json.dumps({"job": "7_0", "time": "2026-01-01T00:00:00+00:00"}))
    assert look(tmp_path, manifest).reason == "Slurm's controller has lost its job; its checkpoint is of step 0"


def test_a_job_that_slurm_holds_says_how_it_goes_on(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "queued", lambda: {"7_0": ("PENDING", HELD)})
    assert "`dsva sweep retry`, lets it go" in look(tmp_path, manifest).reason


def test_a_disk_without_room_may_be_why(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "accounted", lambda jobs: {"7_0": "FAILED"})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    run = tmp_path / "cells" / "a"
    assert f"; the file system of {run} is full; its checkpoint is of step 0" in look(tmp_path, manifest).reason
