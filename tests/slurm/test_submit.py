"""One run over two nodes, through `dsva submit`. 70 seconds on two processors."""

import json
import os
import signal
from pathlib import Path

from dsva.evaluation.results import Results
from launch.jobs.folder import JobFolder
from tests.helpers.jobs import note
from tests.helpers.slurm_cluster import ROOT, TINY, Cluster, same, step, until

CONFIG = ROOT / "configs" / "aid_25_5.yaml"
TWO_NODES = ["--cluster=slurm", "--nodes=2", "--tasks-per-node=2", "--cpus-per-task=1", "--time=30"]


def test_four_ranks_on_two_nodes_survive_with_ddp_and_with_zero2(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    settings = [f"data.shards={scenes}", *TINY, "run.checkpoint_every=20", "train.steps=80"]
    ddp, zero, undisturbed = tmp_path / "ddp", tmp_path / "zero", tmp_path / "undisturbed"

    def submit(run: Path, engine: str) -> str:
        printed = cluster.dsva("submit", CONFIG, f"run.dir={run}", *settings, f"train.engine={engine}", *TWO_NODES)
        return printed.split("job ")[1].split(";")[0]

    first, second = submit(ddp, "ddp"), submit(zero, "zero2")
    faults = {
        ddp: lambda: os.kill(pid_of_rank(3, first), signal.SIGKILL),
        zero: lambda: cluster.run("scontrol", "requeue", second),
    }
    while faults:
        until(lambda: any(step(run) > 24 for run in faults), "steps with DDP and with ZeRO-2")
        faults.pop(next(run for run in faults if step(run) > 24))()
    # Meanwhile, since Slurm takes its time to start it again:
    cluster.dsva("submit", CONFIG, f"run.dir={undisturbed}", *settings, "--cluster=local", "--tasks-per-node=4")
    until(JobFolder(ddp).done, "the end, after rank 3 was killed", 180)
    assert begun(ddp) in ([0, 20], [0, 40], [0, 60])
    assert note(JobFolder(ddp), "crashes.json")["count"] == 1
    until(JobFolder(zero).done, "the end, after the administrator's requeue", 180)
    assert len(begun(zero)) == 2
    assert Results.read(zero / "results.json").provenance.checkpoint_step == 80
    until(cluster.idle, "the jobs to leave the queue")
    assert same(ddp, undisturbed)


def begun(run: Path) -> list[int]:
    """Steps that each start of a run began with."""
    file = run / "starts.jsonl"
    return [json.loads(line)["step"] for line in file.read_text().splitlines()] if file.exists() else []


def pid_of_rank(rank: int, job: str) -> int:
    """Number of the process on this machine that is a rank of a job."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
            if f"SLURM_PROCID={rank}".encode() in environment and f"SLURM_JOB_ID={job}".encode() in environment:
                return int(path.name)
        except OSError:
            continue
    raise AssertionError(f"rank {rank} of job {job} does not run")


def test_what_sbatch_refuses_is_said_in_a_sentence(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    said = cluster.fails("submit", CONFIG, f"data.shards={scenes}", f"run.dir={tmp_path / 'run'}", "--partition=none_such")
    assert "sbatch refuses: sbatch: error: invalid partition" in said


def test_a_dry_run_says_what_it_would_take_and_queues_and_writes_nothing(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    on = [f"--defaults={ROOT / 'configs' / 'cluster' / 'rtx4090.yaml'}", "--nodes=2", "--dry-run"]
    printed = cluster.told("submit", CONFIG, f"data.shards={scenes}", f"run.dir={tmp_path / 'run'}", *on)
    assert "#SBATCH --gpus-per-node=8\n" in printed
    assert "GPU hours at 30% of the peak of NVIDIA GeForce RTX 4090" in printed
    assert not (tmp_path / "run").exists()
    assert cluster.idle()
