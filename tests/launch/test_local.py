"""Runs and sweeps in processes that are started here. 20 seconds on two processors, most of them imports."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from launch.jobs.children import this_code
from launch.jobs.folder import JobFolder
from launch.sweep.plan import Manifest
from launch.sweep.state import states

DSVA = Path(sys.executable).with_name("dsva")
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "aid_25_5.yaml"
SWEEP = f"config: {CONFIG}\nsplits: {{25_5: {{}}}}\nprotocols: {{GZSL: {{}}}}\nseeds: [0, 1]\n"
LONG = ["train.steps=100000", "run.log_every=1"]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with others in it that are called like the packages of the project."""
    for name in ("shards", "launch", "dsva"):
        (tmp_path / "here" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def begin(*command: object, left: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start `dsva COMMAND` in an environment with nothing in it but what is `left`: no home, no Slurm."""
    return subprocess.Popen([DSVA, *map(str, command)], env={"PATH": "/nowhere", "OMP_NUM_THREADS": "1", **left})


def stop(process: "subprocess.Popen[bytes]", number: signal.Signals, ready: Callable[[], object]) -> None:
    """Send a signal when something is true; the process must say by its exit code that it was stopped by it."""
    end = time.monotonic() + 100
    while not ready() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == 128 + number


def test_a_terminal_that_is_closed_stops_both_processes_of_a_run(overrides: list[str], outside: Path) -> None:
    folder = JobFolder(outside / "run")
    command = ["submit", CONFIG, *overrides, *LONG, f"run.dir={folder.run}", "--cluster=local", "--tasks-per-node=2"]
    stop(begin(*command, left={"WORLD_SIZE": "1", "LOCAL_RANK": "0"}), signal.SIGHUP, folder.metrics)
    assert folder.step() > 0
    assert f"stopped by SIGHUP and saved at step {folder.step()}" in str(folder.failed())


def test_who_stops_a_sweep_stops_all_of_it(overrides: list[str], outside: Path) -> None:
    sweep, file = outside / "sweep", outside / "sweep.yaml"
    file.write_text(SWEEP)
    process = begin("sweep", "start", file, sweep, *overrides, *LONG, left={"LOCAL_RANK": "0", "RANK": "0"})
    stop(process, signal.SIGUSR1, lambda: list(sweep.glob("cells/*/metrics.jsonl")))
    found = states(sweep, Manifest.read(sweep))
    assert [state.name for state in found] == ["FAILED", "NEW"]
    assert "stopped by SIGUSR1 and saved at step" in found[0].reason


def test_processes_run_this_very_code() -> None:
    path = this_code({"PYTHONPATH": "/other"})["PYTHONPATH"].split(os.pathsep)
    assert path == [str(CONFIG.parents[1]), "/other"]
