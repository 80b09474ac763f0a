"""The batch files for those who do not use submitit. 30 seconds on two processors."""

from pathlib import Path

from tests.helpers.slurm_cluster import ROOT, TINY, Cluster, step, until

CONFIG = ROOT / "configs" / "aid_25_5.yaml"
SMALL = ["--parsable", "--gpus-per-node=0", "--cpus-per-task=1", "--mem=2G"]


def test_one_node_several_nodes_and_every_split(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    def sbatch(name: str, *arguments: object) -> str:
        return cluster.run("sbatch", *SMALL, f"--chdir={ROOT}", f"--output={tmp_path / name}", *arguments).strip()

    settings, run = [f"data.shards={scenes}", *TINY], tmp_path / "run"
    over_nodes = [CONFIG, f"run.dir={run}", *settings, "train.steps=300"]
    job = sbatch("nodes.txt", "--ntasks-per-node=1", ROOT / "slurm" / "nodes.sbatch", *over_nodes)
    sbatch("split-%a.txt", ROOT / "slurm" / "splits.sbatch", tmp_path / "splits", *settings, "train.steps=3")
    wrong = [CONFIG, f"data.shards={tmp_path / 'none'}", f"run.dir={tmp_path / 'wrong'}"]
    mistaken = sbatch("one.txt", "--ntasks-per-node=1", ROOT / "slurm" / "one-node.sbatch", *wrong)

    until(lambda: step(run) > 10, "first steps over two nodes")
    cluster.run("scancel", "--signal=USR2", job)
    until(lambda: cluster.state(mistaken) == "FAILED", "the refusal")
    assert "error:" in (tmp_path / "one.txt").read_text()
    until((run / "results.json").is_file, "the end")
    assert len((run / "starts.jsonl").read_text().splitlines()) == 2
    assert "stopped by SIGUSR2 and saved" in (tmp_path / "nodes.txt").read_text()
    until(lambda: len(list(tmp_path.glob("splits/*/results.json"))) == 3, "the results of every split")
    assert sorted(path.name for path in (tmp_path / "splits").iterdir()) == ["15_15", "20_10", "25_5"]
    until(cluster.idle, "an empty queue")
