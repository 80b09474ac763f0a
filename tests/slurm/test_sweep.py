"""A sweep on the real Slurm with a fault in every cell ends with the table of an undisturbed one. Two minutes on two processors."""

import os
import signal
from pathlib import Path

import pytest
from slurm_cluster import ROOT, TINY, Cluster, same, step, until

from launch.folder import JobFolder
from launch.sweep.plan import Manifest
from launch.sweep.state import State, folder_of, states

SWEEP = """
config: {config}
splits: {{25_5: {{set: {{classes.split: 25_5}}}}, 15_15: {{set: {{classes.split: 15_15}}}}}}
protocols: {{GZSL: {{}}}}
seeds: {seeds}
cluster: {{time: "30", cpus_per_task: 1, memory_gb: 2}}
"""


@pytest.fixture
def slurm_here(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, with this very process as its user."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    return cluster


def write(file: Path, seeds: str) -> Path:
    file.write_text(SWEEP.format(config=ROOT / "configs" / "aid_25_5.yaml", seeds=seeds))
    return file


def look(sweep: Path) -> list[State]:
    return states(sweep, Manifest.read(sweep))


def test_a_disturbed_sweep_ends_with_the_undisturbed_table(slurm_here: Cluster, scenes: Path, tmp_path: Path) -> None:
    cluster, disturbed, undisturbed = slurm_here, tmp_path / "disturbed", tmp_path / "undisturbed"
    settings = [f"data.shards={scenes}", *TINY, "train.steps=1200"]
    file = write(tmp_path / "sweep.yaml", "[0, 1]")
    cluster.dsva("sweep", "start", file, disturbed, *settings, "--partition=low")
    cells = Manifest.read(disturbed).cells
    preempted, cancelled, killed, crashed = (folder_of(disturbed, cell) for cell in cells)
    for folder in (preempted, cancelled, killed, crashed):
        until(lambda folder=folder: step(folder.run) > 20, f"steps of {folder.run.name}")

    heart = crashed.read("heartbeat.json")
    cluster.node("crash", heart["host"])
    cluster.node("start", heart["host"])
    os.kill(killed.read("heartbeat.json")["pid"], signal.SIGKILL)
    cluster.run("scancel", cancelled.read("submitted.json")["job"])
    until(cancelled.failed, "the note of the cancelled cell")
    node = preempted.read("heartbeat.json")["host"]
    urgent = ["--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1"]
    cluster.run("sbatch", *urgent)

    for folder in (preempted, killed, crashed):
        until(folder.done, f"the end of {folder.run.name}", 240)
    until(cluster.idle, "an empty queue")
    found = {state.cell.name: state for state in look(disturbed)}
    assert [state.name for state in found.values()] == ["COMPLETE", "FAILED", "COMPLETE", "COMPLETE"]
    assert "stopped by SIGTERM and saved at step" in found[cancelled.run.name].reason
    assert all(found[folder.run.name].restarts for folder in (preempted, killed, crashed))
    assert f"Missing 1 of 4 runs: {cancelled.run.name}" in cluster.dsva("sweep", "table", disturbed, "--as=markdown")

    cluster.dsva("sweep", "retry", disturbed)
    until(cancelled.done, "the end of the cell that was cancelled")
    cluster.dsva("sweep", "start", file, undisturbed, *settings, "--cluster=debug")
    tables = [cluster.dsva("sweep", "table", folder, "--as=csv") for folder in (disturbed, undisturbed)]
    assert tables[0] == tables[1]
    assert all(same(folder_of(disturbed, cell).run, folder_of(undisturbed, cell).run) for cell in cells)
    assert "nothing to start" in cluster.dsva("sweep", "retry", disturbed)


def test_extend_runs_new_cells_only_and_mistakes_queue_nothing(slurm_here: Cluster, scenes: Path, tmp_path: Path) -> None:
    cluster, sweep = slurm_here, tmp_path / "sweep"
    settings = [f"data.shards={scenes}", *TINY, "train.steps=4"]
    said = cluster.fails(2, "sweep", "start", write(tmp_path / "sweep.yaml", "[0]"), sweep, *settings, "train.stepps=3")
    assert "did you mean 'train.steps'" in said
    assert not (sweep / "manifest.json").exists()
    assert cluster.idle()

    cluster.dsva("sweep", "start", tmp_path / "sweep.yaml", sweep, *settings)
    until(lambda: all(state.name == "COMPLETE" for state in look(sweep)), "the first cells")
    starts = {state.cell.name: JobFolder(sweep / "cells" / state.cell.name).done() for state in look(sweep)}
    cluster.dsva("sweep", "extend", write(tmp_path / "sweep.yaml", "[0, 1]"), sweep)
    until(lambda: all(state.name == "COMPLETE" for state in look(sweep)), "the cells that were added")
    assert len(look(sweep)) == 4
    assert all(JobFolder(sweep / "cells" / name).done() == done for name, done in starts.items())
