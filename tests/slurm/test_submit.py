"""One run over two nodes, through `dsva submit`. A minute on two processors."""

import os
import signal
from pathlib import Path

from slurm_cluster import ROOT, TINY, Cluster, same, step, until

from dsva.zeroshot.results import Results
from launch.folder import JobFolder

CONFIG = ROOT / "configs" / "aid_25_5.yaml"


def test_two_nodes_with_four_ranks_survive_a_signal_a_requeue_and_a_killed_rank(
    cluster: Cluster, scenes: Path, tmp_path: Path
) -> None:
    settings = [f"data.shards={scenes}", *TINY, "train.steps=300"]
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    asked = ["--nodes=2", "--tasks-per-node=2", "--cpus-per-task=1", "--time=30"]
    printed = cluster.dsva("submit", CONFIG, f"run.dir={disturbed}", *settings, "--cluster=slurm", *asked)
    job = printed.split()[1].rstrip(";")

    until(lambda: step(disturbed) > 10, "first steps")
    cluster.run("scancel", "--signal=USR2", job)
    starts = disturbed / "starts.jsonl"
    until(lambda: len(starts.read_text().splitlines()) == 2, "second start, after USR2")
    saved = JobFolder(disturbed).step()
    assert f'"step": {saved}}}' in starts.read_text(), "continues where it was told to stop"

    until(lambda: step(disturbed) > saved + 10, "steps after USR2")
    cluster.run("scontrol", "requeue", job)
    until(lambda: len(starts.read_text().splitlines()) == 3, "third start, after the administrator's requeue")

    again = step(disturbed)
    until(lambda: step(disturbed) > again + 10, "steps after the requeue")
    os.kill(pid_of_rank(3, job), signal.SIGKILL)
    until(lambda: JobFolder(disturbed).done(), "the end, after rank 3 was killed", 180)
    assert len(starts.read_text().splitlines()) == 4
    assert JobFolder(disturbed).read("crashes.json")["count"] == 1
    until(cluster.idle, "the job to leave the queue")

    cluster.dsva("submit", CONFIG, f"run.dir={undisturbed}", *settings, "--cluster=local", "--tasks-per-node=4")
    assert same(disturbed, undisturbed)


def test_two_nodes_with_zero2_continue_after_a_signal(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = [f"data.shards={scenes}", *TINY, "train.steps=200", "train.engine=zero2"]
    asked = ["--cluster=slurm", "--nodes=2", "--tasks-per-node=1", "--cpus-per-task=1", "--time=30"]
    job = cluster.dsva("submit", CONFIG, f"run.dir={run}", *settings, *asked).split()[1].rstrip(";")
    until(lambda: step(run) > 4, "first steps")
    cluster.run("scancel", "--signal=USR2", job)
    until(JobFolder(run).done, "the end", 180)
    assert len((run / "starts.jsonl").read_text().splitlines()) == 2
    assert Results.read(run / "results.json").provenance.checkpoint_step == 200


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
    arguments = ["submit", CONFIG, f"data.shards={scenes}", f"run.dir={tmp_path / 'run'}", "--partition=none_such"]
    said = cluster.fails(2, *arguments)
    assert "error: sbatch refuses: sbatch: error: invalid partition" in said


def test_a_dry_run_queues_and_writes_nothing(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    arguments = [
        "submit",
        CONFIG,
        f"data.shards={scenes}",
        f"run.dir={tmp_path / 'run'}",
        "--nodes=2",
        "--gpus-per-node=8",
        "--dry-run",
    ]
    script = cluster.dsva(*arguments)
    assert "#SBATCH --gpus-per-node=8\n" in script
    assert not (tmp_path / "run").exists()
    assert cluster.idle()
