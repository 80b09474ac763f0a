"""What becomes of cells whose jobs ended without a word, as Slurm and its accounts have it."""

import json
from collections import namedtuple
from pathlib import Path

import pytest

from launch.folder import JobFolder
from launch.queue import HELD
from launch.sweep import state
from launch.sweep.plan import Manifest
from launch.sweep.state import State, folder_of, states


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A sweep of one cell, queued as job 7_0, of which Slurm knows nothing."""
    sweep = {"splits": {"25_5": {}}, "protocols": {"ZSL": {}}}
    cell = {"name": "a", "split": "25_5", "protocol": "ZSL", "seed": 0, "varied": {}, "steps": 9, "batch_size": 8, "identity": "1"}
    made = Manifest.model_validate({"sweep": sweep, "overrides": [], "cells": [cell]})
    folder_of(tmp_path, made.cells[0]).write("submitted.json", job="7_0", log="")
    monkeypatch.setattr(state, "queued", dict)
    monkeypatch.setattr(state, "_accounts", lambda jobs: {})
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
    monkeypatch.setattr(state, "_accounts", lambda jobs: {"7_0": ending})
    found = look(tmp_path, manifest)
    assert (found.name, found.reason) == ("FAILED", said)


def test_a_job_that_only_the_accounts_know_is_lost_after_a_while(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_accounts", lambda jobs: {"7_0": "RUNNING"})
    assert look(tmp_path, manifest).name == "PENDING"
    note = JobFolder(tmp_path / "cells" / "a").path / "submitted.json"
    note.write_text(json.dumps({"job": "7_0", "time": "2026-01-01T00:00:00+00:00"}))
    assert look(tmp_path, manifest).reason == "Slurm's controller has lost its job; its checkpoint is of step 0"


def test_a_job_that_slurm_holds_says_how_it_goes_on(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "queued", lambda: {"7_0": ("PENDING", HELD)})
    assert "`dsva sweep retry`, lets it go" in look(tmp_path, manifest).reason


def test_a_disk_without_room_may_be_why(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_accounts", lambda jobs: {"7_0": "FAILED"})
    monkeypatch.setattr(state.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(0))
    run = tmp_path / "cells" / "a"
    assert f"; the file system of {run} is full; its checkpoint is of step 0" in look(tmp_path, manifest).reason
