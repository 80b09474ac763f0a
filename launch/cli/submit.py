"""`dsva submit`: one run, on a cluster or here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from launch import voice
from launch.submission.start import Where

# Imports of what is slow stay inside, so that `--help` starts fast.
# ruff: noqa: PLC0415

Cluster = Annotated[Where, typer.Option("--cluster", help="Where: Slurm if it is there, else local; debug is this very process.")]
Defaults = Annotated[Path | None, typer.Option(help="The cluster's own values, such as configs/cluster/rtx4090.yaml.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the batch script, queue nothing.")]
Nodes = Annotated[int | None, typer.Option(help="Machines.", min=1)]
Gpus = Annotated[int | None, typer.Option(help="GPUs of each node, one process each.", min=0)]
Tasks = Annotated[int | None, typer.Option(help="Processes of each node, where there are no GPUs.", min=1)]
Cpus = Annotated[int | None, typer.Option(help="Processors of each process.", min=1)]
Time = Annotated[str | None, typer.Option(help="Time limit, D-HH:MM:SS, HH:MM:SS or minutes.")]
Text = Annotated[str | None, typer.Option(help="As Slurm means it.")]
Setup = Annotated[list[str] | None, typer.Option(help="Shell line before the processes start; can be given again.")]


def submit(
    config: Annotated[Path, typer.Argument(help="YAML file, such as configs/aid_25_5.yaml.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values to change, as section.key=value.", show_default=False)
    ] = None,
    where: Cluster = "auto",
    defaults: Defaults = None,
    nodes: Nodes = None,
    gpus_per_node: Gpus = None,
    tasks_per_node: Tasks = None,
    cpus_per_task: Cpus = None,
    time: Time = None,
    partition: Text = None,
    account: Text = None,
    qos: Text = None,
    constraint: Text = None,
    setup: Setup = None,
    dry_run: DryRun = False,
) -> None:
    """Train on a cluster, or here where there is none; the same command again continues the run.

    Everything is checked before anything is queued. A job that is preempted, reaches its time limit or crashes saves
    what it can and queues again, until the run is complete.
    """
    from dsva.config import load
    from dsva.settings import absolute
    from launch.jobs.folder import JobFolder
    from launch.slurm.batch import cluster_config
    from launch.submission import start
    from launch.submission.estimate import Estimate, tell

    changes: dict[str, Any] = {
        "nodes": nodes, "gpus_per_node": gpus_per_node, "tasks_per_node": tasks_per_node, "cpus_per_task": cpus_per_task,
        "time": time, "partition": partition, "account": account, "qos": qos, "constraint": constraint, "setup": setup,
    }  # fmt: skip
    cluster = cluster_config(defaults, changes)
    settled = absolute(load(config, overrides or []))
    checked = start.check(settled, cluster.processes)
    if start.complete(settled, checked):
        voice.show(f"{settled.run.dir} is complete, there is nothing to start; `dsva eval` scores it again")
        return
    tell([Estimate.of(settled, checked.attributes, cluster)], cluster)
    folder = JobFolder(settled.run.dir)
    name, submissions = settled.run.dir.name, folder.path / "slurm"
    if dry_run:
        voice.show(*start.scripts(1, name, submissions, cluster, 1))
        return
    to = start.decide(where)
    start.check_where(to, submissions, cluster)
    for job in start.start([start.write_down(settled)], name, submissions, to, cluster, 1):
        voice.show(f"job {job.number}; its output: {job.log}")
