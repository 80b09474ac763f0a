"""The batch files for those who do not use submitit. A minute on two processors."""

from pathlib import Path

from slurm_cluster import ROOT, TINY, Cluster, step, until

SMALL = ["--gpus-per-node=0", "--cpus-per-task=1", "--mem=2G"]


def test_one_run_over_nodes_is_saved_and_requeued_on_usr2(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    run, output = tmp_path / "run", f"--output={tmp_path / 'out.txt'}"
    settings = [ROOT / "configs" / "aid_25_5.yaml", f"data.shards={scenes}", f"run.dir={run}", *TINY, "train.steps=300"]
    shape = [*SMALL, "--ntasks-per-node=1", output]
    job = cluster.run("sbatch", "--parsable", *shape, ROOT / "slurm" / "nodes.sbatch", *settings).strip()
    until(lambda: step(run) > 10, "first steps")
    cluster.run("scancel", "--signal=USR2", job)
    until((run / "results.json").is_file, "the end")
    until(cluster.idle, "an empty queue")
    assert len((run / "starts.jsonl").read_text().splitlines()) == 2
    assert "stopped by SIGUSR2 and saved" in (tmp_path / "out.txt").read_text()


def test_one_node_and_a_mistake_end_at_once(cluster: Cluster, tmp_path: Path) -> None:
    output = f"--output={tmp_path / 'out.txt'}"
    settings = [ROOT / "configs" / "aid_25_5.yaml", f"data.shards={tmp_path / 'none'}", f"run.dir={tmp_path / 'run'}"]
    job = cluster.run("sbatch", "--parsable", "--ntasks-per-node=1", *SMALL, output, ROOT / "slurm" / "one-node.sbatch", *settings)
    until(lambda: cluster.state(job.strip()) == "FAILED", "the refusal")
    assert "error:" in (tmp_path / "out.txt").read_text()


def test_every_split_as_an_array(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    shape = [*SMALL, f"--chdir={ROOT}", f"--output={tmp_path / '%a.txt'}"]
    settings = [tmp_path / "runs", f"data.shards={scenes}", *TINY, "train.steps=3"]
    cluster.run("sbatch", "--wait", *shape, ROOT / "slurm" / "splits.sbatch", *settings)
    assert sorted(path.parent.name for path in tmp_path.glob("runs/*/results.json")) == ["15_15", "20_10", "25_5"]
