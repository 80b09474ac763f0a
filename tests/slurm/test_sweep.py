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
cluster: {{time: "30", signal_seconds: 10, cpus_per_task: 1, memory_gb: 3}}
"""


@pytest.fixture
def slurm_here(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, with this very process as its user."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    return cluster


def write(file: Path, seeds: str) -> Path:
    file.write_text(SWEEP.format(config=ROOT / "configs" / "aid_25_5.yaml", seeds=seeds))
    return file


def look(sweep: Path) -> dict[str, State]:
    return {state.cell.name: state for state in states(sweep, Manifest.read(sweep))}


def process(folder: JobFolder) -> int:
    """Number of the process that works on a cell."""
    return int(folder.read("heartbeat.json")["pid"])


def end_without_a_word(cluster: Cluster, folder: JobFolder) -> None:
    """Crash the node of a cell that Slurm is not to queue again, as soon as it has begun."""
    job = folder.read("submitted.json")["job"]
    cluster.run("scontrol", "update", f"JobId={job}", "Requeue=0")
    until(lambda: folder.read("heartbeat.json")["start"].startswith(job), "its start")
    lost = folder.read("heartbeat.json")["host"]
    cluster.node("crash", lost)
    cluster.node("start", lost)


def test_a_disturbed_sweep_ends_with_the_undisturbed_table(slurm_here: Cluster, scenes: Path, tmp_path: Path) -> None:
    cluster, disturbed, undisturbed = slurm_here, tmp_path / "disturbed", tmp_path / "undisturbed"
    settings = [f"data.shards={scenes}", *TINY, "train.steps=600"]
    cluster.dsva("sweep", "start", write(tmp_path / "sweep.yaml", "[0]"), disturbed, *settings, "--partition=low")
    file = write(tmp_path / "sweep.yaml", "[0, 1]")
    assert "2 new cells" in cluster.dsva("sweep", "extend", file, disturbed, "--partition=low")
    cells = Manifest.read(disturbed).cells
    preempted, timed_out, crashed, cancelled = (folder_of(disturbed, cell) for cell in cells)
    # They stand still from then on, so that none ends before its fault has come.
    for folder in (preempted, timed_out, crashed, cancelled):
        until(lambda folder=folder: step(folder.run) > 20, f"steps of {folder.run.name}")
        os.kill(process(folder), signal.SIGSTOP)

    # A node is lost, another's agent; one cell has to end after a minute, of which Slurm's warning wakes it; one is requeued.
    lost = crashed.read("heartbeat.json")["host"]
    cluster.node("crash", lost)
    cluster.run("scontrol", "update", f"JobId={timed_out.read('submitted.json')['job']}", "TimeLimit=1")
    cluster.restart_controller()
    cluster.node("agent", cancelled.read("heartbeat.json")["host"])
    cluster.node("start", cancelled.read("heartbeat.json")["host"])
    cluster.run("scontrol", "requeue", cancelled.read("submitted.json")["job"])
    host = preempted.read("heartbeat.json")["host"]
    urgent = ["--partition=high", f"--nodelist={host}", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1"]
    cluster.run("sbatch", *urgent)

    until(lambda: len((cancelled.run / "starts.jsonl").read_text().splitlines()) == 2, "the next start of the requeued cell")
    cluster.run("scancel", cancelled.read("submitted.json")["job"])
    until(cancelled.failed, "the note of the cancelled cell")
    cluster.dsva("sweep", "start", file, undisturbed, *settings, "--cluster=debug")  # while the minute passes
    for folder in (preempted, timed_out, crashed):
        until(folder.done, f"the end of {folder.run.name}", 180)
    cluster.node("start", lost)
    until(cluster.idle, "an empty queue")
    found = look(disturbed)
    assert [state.name for state in found.values()] == ["COMPLETE", "COMPLETE", "COMPLETE", "FAILED"]
    assert "stopped by SIGTERM and saved at step" in found[cancelled.run.name].reason
    assert [found[folder.run.name].restarts for folder in (preempted, crashed)] == [1, 1]
    assert found[timed_out.run.name].restarts in (1, 2), "its limit of a minute may come again"
    assert f"Missing 1 of 4 runs: {cancelled.run.name}" in cluster.dsva("sweep", "table", disturbed, "--as=markdown")
    assert "stopped by SIGTERM and saved" in cluster.dsva("sweep", "logs", disturbed, cancelled.run.name)

    notes = {folder: folder.done() for folder in (preempted, timed_out, crashed)}
    cluster.dsva("sweep", "retry", disturbed)
    assert cluster.dsva("sweep", "cancel", disturbed) == "1 jobs cancelled\n"
    until(lambda: look(disturbed)[cancelled.run.name].name == "FAILED", "its end, before it began or after")
    assert "1 cells started" in cluster.dsva("sweep", "retry", disturbed)
    end_without_a_word(cluster, cancelled)
    until(cancelled.done, "the end of the cell that was cancelled", 120)
    assert cancelled.read("kept.json")["count"] == 1, "what follows the sweep has taken it up again"
    until(cluster.idle, "an empty queue")
    assert {folder: folder.done() for folder in notes} == notes, "what is complete is not run again"
    tables = [cluster.dsva("sweep", "table", folder, "--as=csv") for folder in (disturbed, undisturbed)]
    assert tables[0] == tables[1]
    assert all(same(folder_of(disturbed, cell).run, folder_of(undisturbed, cell).run) for cell in cells)
    assert "nothing to start" in cluster.dsva("sweep", "retry", disturbed)
