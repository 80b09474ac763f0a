"""`dsva submit` where it needs no Slurm, and the copy of the code that it sends. 4 seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dsva.config import load
from dsva.exit_codes import MISTAKE
from launch.cli.main import app
from launch.jobs.folder import JobFolder
from launch.submission.snapshot import take
from launch.submission.start import decide
from shards.errors import UserError

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "aid_25_5.yaml"


def submit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["submit", str(CONFIG), *map(str, arguments)])


@pytest.fixture
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_run_in_this_very_process_is_done_once(overrides: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert submit(*overrides, f"run.dir={run}", "--cluster=debug").exit_code == 0
    done = JobFolder(run).done()
    assert done
    assert set(done["scores"]) >= {"proto", "main"}
    assert submit(*overrides, f"run.dir={run}", "--cluster=debug").exit_code == 0
    assert JobFolder(run).done() == done


def test_every_file_that_a_job_is_given_is_found_from_another_folder(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of Slurm may run in another folder than the one that `dsva submit` was typed in."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "zero.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "here")
    run = tmp_path / "run"
    # The job refuses it, after it was written down: DDP has no settings of DeepSpeed's.
    assert submit(*overrides, f"run.dir={run}", "train.deepspeed=zero.json", "--cluster=debug").exit_code == MISTAKE
    assert (
        f"train.deepspeed={tmp_path / 'here' / 'zero.json'} needs train.engine=zero1" in (JobFolder(run).failed() or {})["reason"]
    )
    monkeypatch.chdir(tmp_path)
    file = load(JobFolder(run).config).train.deepspeed
    assert file
    assert file.is_file()


@pytest.mark.usefixtures("no_slurm")
def test_without_slurm_auto_is_here_and_slurm_is_refused() -> None:
    assert decide("auto") == "local"
    assert decide("debug") == "debug"
    with pytest.raises(UserError, match="no Slurm answers here"):
        decide("slurm")


@pytest.mark.usefixtures("no_slurm")
@pytest.mark.parametrize(
    ("asked", "said"),
    [("--nodes=2", "--nodes 2 on one machine"), ("--cluster=slurm", "--cluster slurm, but no Slurm answers here")],
)
def test_what_cannot_be_started_here_is_refused_before_anything_is_written(
    overrides: list[str], tmp_path: Path, asked: str, said: str
) -> None:
    refused = submit(*overrides, f"run.dir={tmp_path / 'run'}", asked).exception
    assert isinstance(refused, UserError)
    assert said in str(refused)
    assert not (tmp_path / "run").exists()


def test_a_run_that_does_not_fit_is_refused_before_anything_is_written(overrides: list[str], tmp_path: Path) -> None:
    large = ["model.width=4096", "model.layers=48", "model.mlp=16384", "model.heads=32"]
    gpu = tmp_path / "gpu.yaml"
    gpu.write_text("gpus_per_node: 1\ngpu_memory_gb: 24\n")
    said = submit(*overrides, *large, f"run.dir={tmp_path / 'run'}", f"--defaults={gpu}", "--dry-run").exception
    assert isinstance(said, UserError)
    assert "than a GPU has (gpu_memory_gb=24)" in str(said)
    assert not (tmp_path / "run").exists()


def test_the_copy_of_the_code_runs_by_itself_and_knows_what_it_was(tmp_path: Path) -> None:
    code = take(tmp_path / "code")
    told = json.loads(next(code.glob("*.json")).read_text())
    look = (
        "import pathlib, dsva, launch; from dsva.provenance.code import code_version as v; "
        "print(dsva.__file__, launch.__file__, v()); "
        "from dsva.report.page import write_page; write_page(pathlib.Path(dsva.__file__).with_name('page.html'), 'title', '', [])"
    )
    environment = {**os.environ, "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
    printed = subprocess.run(
        [sys.executable, "-c", look], env=environment, cwd=CONFIG.parent, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split()[:2] == [str(code / "dsva" / "__init__.py"), str(code / "launch" / "__init__.py")]
    assert str(told["version"]) in printed.stdout
    assert "<h1>title</h1>" in (code / "dsva" / "page.html").read_text()  # its templates were copied, too
