"""The one gate into a run directory, at every door: what is refused leaves every byte as it was. 15 seconds."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dsva.config import Config, dump, load
from dsva.processes.environment import ALONE
from dsva.run_directory import ASKED, RESULTS
from dsva.runs.gate import Standing, admit
from dsva.runs.identity import differences
from dsva.settings import absolute
from launch.cli.main import app
from launch.jobs.folder import JobFolder
from launch.jobs.lease import Lease
from launch.jobs.worker import Worker
from launch.slurm import requeue
from launch.submission.job import Job
from launch.sweep.actions import begin
from launch.sweep.plan import read_sweep
from shards.errors import UserError
from shards.pack import pack
from shards.sources import open_source

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "aid_25_5.yaml"


def dsva(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def refused(command: str, *arguments: object) -> str:
    """What a command says that is refused with one sentence."""
    said = dsva(command, *arguments).exception
    assert isinstance(said, UserError), said
    return str(said)


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder with its hash and time."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}" for path in files}


@pytest.fixture(scope="module")
def done(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was submitted and is complete."""
    run = tmp_path_factory.mktemp("done") / "RUN"
    assert dsva("submit", CONFIG, *overrides, f"run.dir={run}", "--cluster=debug").exit_code == 0
    return run


@pytest.fixture(scope="module")
def other(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The override that names a shard set of the same scenes with other bytes."""
    images = Path(overrides[-1].partition("=")[2]).parent / "DATA"
    return f"data.shards={pack(open_source(images), tmp_path_factory.mktemp('other') / 'SET', resize=40).shards.root}"


OTHERS = [["run.seed=1"], ["optimizer.lr=0.5", "run.seed=2"], ["classes.split=20_10"], ["train.steps=3"]]


@pytest.mark.parametrize("door", [["submit", "--cluster=debug"], ["submit", "--dry-run"], ["train"]])
def test_a_complete_run_is_entered_by_no_other_configuration_and_stays_as_it_is(
    done: Path, overrides: list[str], other: str, door: list[str]
) -> None:
    before = tree(done)
    for changes in [*OTHERS, [other]]:
        said = refused(door[0], CONFIG, *overrides, f"run.dir={done}", *changes, *door[1:])
        assert f"run.dir={done}" in said
        for change in changes:
            assert change.partition("=")[0] in said
            assert change in said or change == other
        assert "give" in said
    assert tree(done) == before


def test_the_refusal_names_all_keys_with_both_values(done: Path, overrides: list[str]) -> None:
    said = refused("submit", CONFIG, *overrides, f"run.dir={done}", "optimizer.lr=0.5", "run.seed=2")
    assert "holds a run with optimizer.lr=0.001, run.seed=0, not optimizer.lr=0.5, run.seed=2: give another run.dir" in said


def test_the_same_configuration_is_told_that_it_is_complete(done: Path, overrides: list[str]) -> None:
    before = tree(done)
    # How it is carried out is free.
    for free in ([], ["data.workers=2", "train.engine=zero1", "train.accumulation=2", "model.gradient_checkpointing=true"]):
        answer = dsva("submit", CONFIG, *overrides, f"run.dir={done}", *free, "--cluster=debug")
        assert answer.exit_code == 0
        assert "is complete, there is nothing to start" in answer.output
    said = refused("submit", CONFIG, *overrides, f"run.dir={done}", "eval.gamma=0.5", "--cluster=debug")
    assert f"`dsva eval {done} eval.gamma=0.5`" in said
    assert tree(done) == before


def test_a_backbone_is_the_same_by_whatever_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clip", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)

    def named(backbone: object) -> Config:
        return load(CONFIG, [f"model.backbone={backbone}"])

    assert not list(differences(named("clip"), named(tmp_path / "clip"), set()))
    assert list(differences(named("clip"), named(tmp_path / "other"), set())) == [
        ("model.backbone", "clip", str(tmp_path / "other"))
    ]


def test_scoring_reporting_and_exporting_pass_the_same_gate(done: Path, tmp_path: Path) -> None:
    before = tree(done)
    assert "run.seed=0, not run.seed=1" in refused("eval", done, "run.seed=1")
    for command, *images in (("eval",), ("report",), ("predict", done), ("explain", done)):
        assert str(tmp_path) in refused(command, tmp_path, *images)
    result = CliRunner().invoke(app, ["checkpoint", "export", str(tmp_path), str(tmp_path / "MODEL")])
    assert isinstance(result.exception, UserError)
    assert not list(tmp_path.iterdir())
    assert tree(done) == before


def test_a_run_that_was_submitted_and_has_not_begun_is_not_begun_otherwise(overrides: list[str], tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    asked = absolute(load(CONFIG, [*overrides, f"run.dir={run}"]))
    (run / ASKED).parent.mkdir(parents=True)
    (run / ASKED).write_text(dump(asked))  # as a queued job leaves it
    before = tree(run)
    for door in (["submit", "--cluster=debug"], ["train"]):
        said = refused(door[0], CONFIG, *overrides, f"run.dir={run}", "run.seed=3", *door[1:])
        assert "holds a run that has not begun with run.seed=0, not run.seed=3" in said
        assert said.endswith(f"or cancel the job that waits for it, and delete {run / 'job'}")
    assert tree(run) == before
    assert admit(run, asked) is Standing.NEW
    assert Job(run)() == 0
    assert admit(run, asked) is Standing.COMPLETE


def test_a_folder_with_something_else_gets_nothing(overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is not empty and holds no run" in refused("submit", CONFIG, *overrides, f"run.dir={tmp_path}", "--cluster=debug")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_requeued_job_whose_configuration_was_overwritten_is_refused_with_the_keys(done: Path, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    (run / "job").mkdir(parents=True)
    (run / "config.yaml").write_bytes((done / "config.yaml").read_bytes())
    config = load(done / "config.yaml")
    (run / ASKED).write_text(dump(config.model_copy(update={"run": config.run.model_copy(update={"dir": run, "seed": 9})})))
    with pytest.raises(SystemExit, match="2"):
        Job(run)()
    failed = JobFolder(run).failed()
    assert failed
    assert "run.seed=0, not run.seed=9" in failed["reason"]
    assert {path.name for path in run.iterdir()} == {"job", "config.yaml", ".lock"}


def test_a_job_that_finds_another_at_work_leaves_its_notes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.jobs.lease.STOPPED", 2.0)
    monkeypatch.setattr("launch.jobs.lease.BEAT", 0.1)
    folder = JobFolder(tmp_path)
    with Lease(folder, Worker(ALONE, "1", "1-0")):
        with pytest.raises(SystemExit, match="2"):
            Job(tmp_path)()
        (tmp_path / "runs.json").write_text(json.dumps([str(tmp_path)]))
        monkeypatch.setenv("SLURM_PROCID", "0")
        monkeypatch.setenv("SLURM_JOB_ID", "2")
        with pytest.raises(SystemExit, match="is another job's: it is left alone"):
            requeue.main(str(tmp_path / "runs.json"), "3", "2")
        assert folder.failed() is None
        assert folder.read("crashes.json") is None


def test_a_run_of_an_earlier_version_is_compared_with_its_checkpoint(done: Path, overrides: list[str], other: str) -> None:
    starts = done / "starts.jsonl"
    text = starts.read_text()
    start = json.loads(text.splitlines()[-1])
    starts.write_text(json.dumps({key: start[key] for key in ("time", "host", "pid", "step", "why")}) + "\n")
    try:
        assert "digest" in refused("submit", CONFIG, *overrides, f"run.dir={done}", other, "--cluster=debug")
        assert dsva("submit", CONFIG, *overrides, f"run.dir={done}", "--cluster=debug").exit_code == 0
    finally:
        starts.write_text(text)


def test_a_sweep_writes_into_no_folder_of_another_run(done: Path, overrides: list[str], tmp_path: Path) -> None:
    sweep = read_sweep(ROOT / "configs" / "sweeps" / "aid.yaml").model_copy(update={"seeds": (0,)})
    planned = begin(sweep, overrides, tmp_path / "sweep")
    (tmp_path / "sweep" / "manifest.json").unlink()
    begin(sweep, overrides, tmp_path / "sweep")  # as after a kill before the list was written
    (tmp_path / "sweep" / "manifest.json").unlink()
    last = planned[-1].config.run.dir
    (last / "config.yaml").write_bytes((done / "config.yaml").read_bytes())
    (last / RESULTS).write_bytes((done / RESULTS).read_bytes())
    before = tree(tmp_path)
    with pytest.raises(UserError, match=f"run.dir={last} holds a run with"):
        begin(sweep, overrides, tmp_path / "sweep")
    assert tree(tmp_path) == before
