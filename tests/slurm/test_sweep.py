"""A sweep on the real Slurm with a fault in every cell ends with the table of an undisturbed one. 80 seconds on two processors."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from launch.jobs.folder import JobFolder
from launch.sweep.plan import Manifest
from launch.sweep.state import State, folder_of, states
from tests.helpers.jobs import note
from tests.helpers.slurm_cluster import ROOT, TINY, Cluster, same, step, until

SWEEP = """
config: {config}
splits: {{{splits}}}
protocols: {{GZSL: {{}}}}
seeds: {seeds}
cluster: {{time: "30", signal_seconds: 10, cpus_per_task: 1, memory_gb: 3}}
"""


@pytest.fixture
def slurm_here(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, with this very process as its user."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    return cluster


def write(file: Path, splits: Sequence[str], seeds: Sequence[int]) -> Path:
    named = ", ".join(f"{split}: {{set: {{classes.split: {split}}}}}" for split in splits)
    file.write_text(SWEEP.format(config=ROOT / "configs" / "aid_25_5.yaml", splits=named, seeds=list(seeds)))
    return file


def look(sweep: Path) -> dict[str, State]:
    return {state.cell.name: state for state in states(sweep, Manifest.read(sweep))}


def host(folder: JobFolder) -> str:
    """Node that a cell runs on."""
    return str(note(folder, "heartbeat.json")["host"])


def job(folder: JobFolder) -> str:
    """Number of a cell's job."""
    return str(note(folder, "submitted.json")["job"])


def starts(folder: JobFolder) -> int:
    """How often a cell has begun to train."""
    return len((folder.run / "starts.jsonl").read_text().splitlines())


def stopped(folders: Sequence[JobFolder], ready: Callable[[JobFolder], bool]) -> Iterator[JobFolder]:
    """Let each cell stand still as soon as it is ready, so that none ends before its fault has come; yield it then."""
    waiting = list(folders)
    while waiting:
        until(lambda: any(map(ready, waiting)), f"{len(waiting)} cells, such as {waiting[0].run.name}")
        for folder in [folder for folder in waiting if ready(folder)]:
            os.kill(int(note(folder, "heartbeat.json")["pid"]), signal.SIGSTOP)
            waiting.remove(folder)
            yield folder


def lose(cluster: Cluster, folder: JobFolder) -> None:
    """Crash the node of a cell, which Slurm is not to queue again, and bring it back."""
    node = host(folder)
    cluster.run("scontrol", "update", f"JobId={job(folder)}", "Requeue=0")
    cluster.node("crash", node)
    # By itself Slurm may take a minute to see it.
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
    cluster.node("start", node)


def test_a_disturbed_sweep_ends_with_the_undisturbed_table(slurm_here: Cluster, scenes: Path, tmp_path: Path) -> None:
    cluster, disturbed, undisturbed = slurm_here, tmp_path / "disturbed", tmp_path / "undisturbed"
    settings, low = [f"data.shards={scenes}", *TINY, "train.steps=300"], "--partition=low"
    cluster.dsva("sweep", "start", write(tmp_path / "sweep.yaml", ["25_5"], [0]), disturbed, *settings, low)
    file = write(tmp_path / "sweep.yaml", ["25_5", "15_15"], [0, 1])
    assert "3 new cells" in cluster.told("sweep", "extend", file, disturbed, low)
    cells = Manifest.read(disturbed).cells
    silent, preempted, timed_out, cancelled = folders = [folder_of(disturbed, cell) for cell in cells]
    assert len(list(stopped(folders, lambda folder: step(folder.run) > 20))) == 4

    # One loses its node, one has to end after a minute, of which Slurm's warning wakes it, one is preempted, and one is requeued
    # while its node's agent and the controller crash.
    lost = host(cancelled)
    cluster.node("crash", lost)
    cluster.run("scontrol", "update", f"JobId={job(timed_out)}", "TimeLimit=1")
    urgent = ["--partition=high", f"--nodelist={host(preempted)}", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1"]
    cluster.run("sbatch", *urgent)
    cluster.node("agent", host(silent))
    cluster.node("start", host(silent))
    cluster.run("scontrol", "requeue", job(silent))
    cluster.restart_controller()
    # When the first and the last begin again, a person cancels the one, and the other ends with its node.
    for folder in stopped((cancelled, silent), lambda folder: starts(folder) == 2):
        if folder is cancelled:
            cluster.run("scancel", job(cancelled))
        else:
            lose(cluster, silent)
    cluster.node("start", lost)
    until(cancelled.failed, "the note of the cancelled cell")
    cluster.dsva("sweep", "start", file, undisturbed, *settings, "--cluster=debug")  # while the others go on
    for folder in (silent, preempted, timed_out):
        until(folder.done, f"the end of {folder.run.name}", 180)
    assert note(silent, "kept.json")["count"] == 1, "what follows the sweep has taken it up again"
    until(cluster.idle, "an empty queue")
    found = look(disturbed)
    assert [found[folder.run.name].name for folder in folders] == ["COMPLETE", "COMPLETE", "COMPLETE", "FAILED"]
    assert "stopped by SIGTERM and saved at step" in found[cancelled.run.name].reason
    assert [found[folder.run.name].restarts for folder in (silent, preempted, cancelled)] == [2, 1, 1]
    assert found[timed_out.run.name].restarts in (1, 2), "its limit of a minute may come again"
    assert f"Missing 1 of 4 runs: {cancelled.run.name}" in cluster.dsva("sweep", "table", disturbed, "--as=markdown")
    assert "stopped by SIGTERM and saved" in cluster.dsva("sweep", "logs", disturbed, cancelled.run.name)

    notes = {folder: folder.done() for folder in (silent, preempted, timed_out)}
    cluster.dsva("sweep", "retry", disturbed)
    assert cluster.dsva("sweep", "cancel", disturbed) == "1 jobs cancelled\n"
    until(lambda: look(disturbed)[cancelled.run.name].name == "FAILED", "its end, before it began or after")
    assert "1 cells started" in cluster.dsva("sweep", "retry", disturbed)
    until(cancelled.done, "the end of the cell that was cancelled", 120)
    until(cluster.idle, "an empty queue")
    assert {folder: folder.done() for folder in notes} == notes, "what is complete is not run again"
    tables = [cluster.dsva("sweep", "table", folder, "--as=csv") for folder in (disturbed, undisturbed)]
    assert tables[0] == tables[1]
    assert all(same(folder_of(disturbed, cell).run, folder_of(undisturbed, cell).run) for cell in cells)
    assert "nothing to start" in cluster.dsva("sweep", "retry", disturbed)
