"""The development cluster itself. 10 seconds, most of them Slurm's."""

from tests.helpers.slurm_cluster import Cluster, until


def test_two_nodes_run_four_tasks(cluster: Cluster) -> None:
    printed = cluster.run("srun", "--nodes=2", "--ntasks-per-node=2", "bash", "-c", "echo $SLURMD_NODENAME $SLURM_PROCID")
    lines = sorted(line.split() for line in printed.splitlines())
    assert [rank for _, rank in sorted(lines, key=lambda line: line[1])] == ["0", "1", "2", "3"]
    assert len({node for node, _ in lines}) == 2


def test_gpus_are_counted_and_named(cluster: Cluster) -> None:
    assert cluster.run("srun", "--gpus-per-node=2", "bash", "-c", "echo $CUDA_VISIBLE_DEVICES") == "0,1\n"


def test_ended_jobs_are_accounted_for(cluster: Cluster) -> None:
    job = cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap", "exit 3").strip()

    def row() -> list[str]:
        return cluster.run("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode").split()

    until(lambda: row() == ["FAILED|3:0"], "the job's end in sacct")


def test_a_crashed_node_comes_back(cluster: Cluster) -> None:
    cluster.node("crash", "node4")
    cluster.node("start", "node4")
    until(lambda: cluster.run("sinfo", "-h", "-n", "node4", "-p", "main", "-o", "%t") == "idle\n", "node4 to be idle")


def test_jobs_outlive_the_controller(cluster: Cluster) -> None:
    job = cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 6").strip()
    cluster.restart_controller()
    until(lambda: cluster.state(job) == "COMPLETED", "the job's end")
