"""The record of the code: what it was at each start of a run, and what results say of it. 8 seconds."""

import json
import os
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from dsva.config import Config, load
from dsva.evaluation.results import Results
from dsva.evaluation.tables import summary
from dsva.inference.trained_run import Trained
from dsva.provenance import code, starts
from dsva.provenance.code import MAX_DIFF, code_diff, code_sha256, code_version, running_code
from dsva.provenance.starts import changes, code_of, noted_inputs, trained_by
from dsva.run_directory import RESULTS, STARTS
from dsva.runs import record
from dsva.train.run import run
from dsva.train.trainer import Trainer
from tests.helpers.heard import heard
from tests.helpers.noise import Noise

CLEAN = {"version": "1.0", "commit": "a" * 40, "modified": False, "sha256": "0" * 64}
EDITED = {"version": "1.0", "commit": "a" * 40, "modified": True, "sha256": "1" * 64}


def test_code_version_names_commit_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout

    monkeypatch.setattr(code, "CHECKOUT", tmp_path)
    assert code_version()["commit"] is None
    (tmp_path / "dsva").mkdir()
    (tmp_path / "dsva" / "__init__.py").write_text("")
    git("init")
    assert (code_version()["commit"], code_diff()) == (None, "")  # a checkout of something else
    git("add", ".")
    git("commit", "-m", "first")
    assert code_version() == {"version": "0.1.0", "commit": git("rev-parse", "HEAD").strip(), "modified": False}
    (tmp_path / "dsva" / "__init__.py").write_text("changed = 1\n")
    (tmp_path / "new.py").write_text("added = 2\n")
    assert code_version()["modified"] is True
    assert "+changed = 1\n" in code_diff()
    assert "+added = 2\n" in code_diff()
    (tmp_path / "new.py").write_text("x = 1\n" * MAX_DIFF)
    assert len(code_diff()) < MAX_DIFF + 100
    assert f"(cut here: the changes are more than {MAX_DIFF} bytes)" in code_diff()


def test_an_edit_is_noticed_with_git_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "CHECKOUT", tmp_path)
    (tmp_path / "dsva").mkdir()
    (tmp_path / "dsva" / "loss.py").write_text("a = 1\n")
    before = code_sha256()
    (tmp_path / "notes.py").write_text("of no consequence\n")
    assert code_sha256() == before
    (tmp_path / "dsva" / "loss.py").write_text("a = 2\n")
    assert code_sha256() != before


def test_what_runs_is_what_was_there_when_the_process_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = running_code()
    monkeypatch.setattr(code, "CHECKOUT", tmp_path)
    assert running_code() == before


def start(folder: Path, now: dict[str, Any], config: Config, monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> str:
    """Train with this code, up to a step if one is given; return what was said."""
    step, taken = Trainer.step, []

    def stopped(*given: Any) -> Any:
        taken.append(1)
        if len(taken) == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*given)

    with heard() as said, monkeypatch.context() as patch:
        for module in (record, starts):
            patch.setattr(module, "running_code", lambda: (now, "a patch" if now["modified"] else ""))
        patch.setattr(Trainer, "step", stopped)
        assert run(config) == (128 + signal.SIGTERM if stop_at else 0)
    return said.getvalue()


def test_every_start_keeps_its_own_code_and_results_name_them_all(
    tiny: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "RUN"
    config = load(tiny.config, [f"run.dir={folder}", "train.steps=4"])
    warning = "the code is not that of the steps before"
    assert warning not in start(folder, EDITED, config, monkeypatch, stop_at=1)
    assert warning not in start(folder, EDITED, config, monkeypatch, stop_at=1)
    said = start(folder, CLEAN, config, monkeypatch)
    assert (
        f"WARNING: {warning}: 1.0, commit aaaaaaaaaaaa with changes (code/1111111111111111.diff), sha256 111111111111 then" in said
    )
    assert (folder / "code" / "1111111111111111.diff").read_text() == "a patch"
    results = Results.read(folder / RESULTS)
    made = results.provenance.code
    assert made["modified"] is True
    assert [(part["from_step"], part["sha256"][0], part["modified"]) for part in made["trained_by"]] == [
        (0, "1", True),
        (2, "0", False),
    ]
    assert "Note: the code changed during training: 1.0, commit aaaaaaaaaaaa with changes" in summary(results).note
    assert "the code changed during training" in (folder / "results.md").read_text()
    target = Trained.open(folder).export(tmp_path / "MODEL")
    assert "| code | the code changed during training: 1.0" in (target / "README.md").read_text()
    assert json.loads((target / "config.json").read_text())["source"]["code"]["modified"] is True
    assert noted_inputs(folder) == json.loads((folder / "checkpoints/step-00000004/state.json").read_text())["inputs"]


def test_only_the_code_of_steps_that_count_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(*begun: tuple[int, dict[str, Any] | None]) -> None:
        noted = [{"step": step} | ({"code": made} if made else {}) for step, made in begun]
        (tmp_path / STARTS).write_text("".join(f"{json.dumps(start)}\n" for start in noted) + '{"step": 7')

    def parts(step: int) -> list[tuple[int, str | None]]:
        return [(part["from_step"], part.get("sha256", "?")[0]) for part in trained_by(tmp_path, step)]

    lines((0, EDITED), (0, CLEAN), (20, CLEAN), (30, EDITED), (20, CLEAN), (60, EDITED))
    assert parts(60) == [(0, "0")]  # the others left no checkpoint, were gone back behind, or took no step
    lines((0, None), (20, CLEAN))
    assert parts(60) == [(0, "?"), (20, "0")]
    assert parts(20) == [(0, "?")]
    assert changes(trained_by(tmp_path, 60)).startswith("the code changed during training: code of which nothing was recorded")
    monkeypatch.setattr(starts, "running_code", lambda: (CLEAN, ""))
    assert code_of(tmp_path, 60)["modified"] is None
    lines((0, CLEAN))
    assert code_of(tmp_path, 60)["modified"] is False
    assert not changes(trained_by(tmp_path, 60))


def test_a_package_that_is_not_installed_is_not_recorded_and_hinders_nothing() -> None:
    installed = {"numpy": version("numpy"), "webdataset": version("webdataset")}
    assert record.versions(("numpy", "not-installed", "webdataset")) == installed
    assert list(record.versions(record.PACKAGES)) == list(record.PACKAGES)
