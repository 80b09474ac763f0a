"""A run whose own notes are damaged goes on if something else still says what it is, and says so. 20 seconds."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsva.config import load
from dsva.run_directory import ASKED
from dsva.runs.gate import admit
from dsva.runs.record import read_config, why_started
from dsva.train.run import run
from launch.cli.main import app
from launch.jobs.folder import JobFolder
from shards.errors import UserError
from tests.helpers.heard import heard
from tests.helpers.noise import Noise
from tests.helpers.runs import assert_same, checkpoints, finished

DEEP = b"[" * 100_000
DAMAGE = {"bytes": b"\xff\xfe{", "empty": b"", "list": b"[]\n", "deep": DEEP + b"\n", "zeros": b"\0" * 64}
NOTES = ("environment.json", "ended.json", "starts.jsonl", "metrics.jsonl", "saved.json")


def train(tiny: Noise, folder: Path, *overrides: str) -> str:
    """Train, or go on; return what was said."""
    with heard() as said:
        assert run(load(tiny.config, [f"run.dir={folder}", *overrides])) == 0
    return said.getvalue()


@pytest.fixture(scope="module")
def whole(tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing befell."""
    folder = tmp_path_factory.mktemp("whole") / "RUN"
    train(tiny, folder)
    return folder


@pytest.fixture
def begun(whole: Path, tmp_path: Path) -> Path:
    """A copy of it that has two steps more to take."""
    shutil.copytree(whole, tmp_path / "RUN")
    shutil.rmtree(checkpoints(tmp_path / "RUN")[-1])
    return tmp_path / "RUN"


def tree(folder: Path) -> dict[str, str]:
    """Every file with its hash."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_notes_stop_no_run(tiny: Noise, whole: Path, begun: Path, kind: str) -> None:
    for name in NOTES:
        (begun / name).write_bytes(DAMAGE[kind])
    assert "continuing from" in train(tiny, begun)
    assert_same(finished(begun), finished(whole))
    for name in ("environment.json", "ended.json"):
        assert json.loads((begun / name).read_text())


@pytest.mark.parametrize("kind", [*DAMAGE, "cut", "gone"])
def test_a_damaged_configuration_is_written_anew_by_the_command_that_the_run_began_with(
    tiny: Noise, whole: Path, begun: Path, kind: str
) -> None:
    file = begun / "config.yaml"
    before = file.read_bytes()
    left = DAMAGE.get(kind, before[: before.index(b"  seed:")])
    file.write_bytes(left)
    if kind == "gone":
        file.unlink()
    as_it_was = tree(begun)
    with pytest.raises(UserError, match=r"the run's record is damaged, .*config.yaml .*: `dsva train` with the configuration"):
        read_config(begun)
    with pytest.raises(UserError, match=r"is of another run, with run.seed=0, not 7"):
        train(tiny, begun, "run.seed=7")
    assert tree(begun) == as_it_was

    assert ("was damaged and is written anew" in train(tiny, begun)) is (kind != "gone")
    assert read_config(begun) == load(tiny.config, [f"run.dir={begun}"])
    assert_same(finished(begun), finished(whole))
    if kind != "gone":
        assert (begun / "damaged-config.yaml").read_bytes() == left


def test_a_damaged_configuration_is_compared_with_what_a_job_was_asked_for(tiny: Noise, begun: Path) -> None:
    config = load(tiny.config, [f"run.dir={begun}"])
    (begun / ASKED).parent.mkdir()
    (begun / "config.yaml").rename(begun / ASKED)
    shutil.rmtree(begun / "checkpoints")
    assert admit(begun, config)
    with pytest.raises(UserError, match=r"run.seed=0, not run.seed=7"):
        admit(begun, load(tiny.config, [f"run.dir={begun}", "run.seed=7"]))
    (begun / ASKED).unlink()
    with pytest.raises(UserError, match=r"nothing else in .* says what the run computes: put config.yaml back, or give another"):
        admit(begun, config)


@pytest.mark.parametrize(("count", "told"), [("x", False), ("", False), ("0", False), ("2", True)])
def test_a_count_of_restarts_that_is_none_stops_no_run(tmp_path: Path, count: str, told: bool) -> None:
    why = why_started(tmp_path, {"SLURM_RESTART_COUNT": count, "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"})
    assert ("restart 2 of Slurm job 7" in why) is told


def test_what_one_start_keeps_for_good_no_later_one_removes(tiny: Noise, tmp_path: Path) -> None:
    folder = tmp_path / "RUN"
    every = ("run.checkpoint_every=1", "run.keep=1")
    train(tiny, folder, *every, "run.keep_every=2")
    assert [path.name[-1] for path in checkpoints(folder)] == ["2", "4", "6"]
    shutil.rmtree(checkpoints(folder)[-1])
    assert "continuing from" in train(tiny, folder, *every)  # 5 and 6 are this one's, which keeps none for good
    assert [path.name[-1] for path in checkpoints(folder)] == ["2", "4", "6"]
    for path in checkpoints(folder)[1:]:
        shutil.rmtree(path)
    train(tiny, folder, *every)
    assert [path.name[-1] for path in checkpoints(folder)] == ["2", "6"]


def test_a_folder_called_like_markup_is_only_a_name(tiny: Noise, begun: Path) -> None:
    shutil.move(begun, folder := begun.parent / "[/v]x")
    for command in (["ls"], ["verify"]):
        answer = CliRunner().invoke(app, ["checkpoint", *command, str(folder)])
        assert answer.exit_code == 0, answer.output
    train(tiny, folder)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_notes_of_a_job_are_none(tmp_path: Path, kind: str) -> None:
    folder = JobFolder(tmp_path)
    for name in ("failed.json", "crashes.json", "heartbeat.json"):
        folder.write(name, step=3)
        (folder.path / name).write_bytes(DAMAGE[kind])
    (tmp_path / "metrics.jsonl").write_bytes(DAMAGE[kind] + b'\n{"step": 3}\n')
    assert folder.failed() is None
    assert folder.count("crashes.json") == 1
    assert folder.metrics() == {"step": 3}
