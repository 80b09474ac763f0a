"""`dsva doctor`."""

import json
import sys
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsva.exit_codes import DONE, MISTAKE, stopped_by
from dsva.train.stopping import handle, restore
from launch import voice
from launch.doctor.checks import clean, examine
from launch.doctor.finding import Asked, Finding
from launch.doctor.table import view, worst
from shards.errors import UserError

if TYPE_CHECKING:
    from launch.slurm.batch import ClusterConfig

# Imports of what only --nodes needs stay inside, so that the checks here start fast.
# ruff: noqa: PLC0415


def doctor(
    folder: Annotated[Path, typer.Option(help="Folder that the nodes share, where runs will lie say.")] = Path(),
    shards: Annotated[Path | None, typer.Option(help="Shard set that is to be readable.")] = None,
    nodes: Annotated[int, typer.Option(help="Examine so many nodes, too, in a job on Slurm.", min=0)] = 0,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs that there must be.", min=0)] = 0,
    defaults: Annotated[Path | None, typer.Option(help="The cluster's own values, a file as in configs/cluster/.")] = None,
    partition: Annotated[str | None, typer.Option(help="As Slurm means it.")] = None,
    wait: Annotated[int, typer.Option(help="Seconds in which the nodes must answer, waiting in the queue included.", min=1)] = 600,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check whether this machine, and the nodes of a cluster, can do what runs need, and say how to mend what they cannot.

    Exit code 0 where all is OK or a warning, 2 where something has to be mended first. Nothing is left behind.
    """
    cluster = _cluster(folder, nodes, gpus_per_node, defaults, partition) if nodes else None
    # As Ctrl-C does: leave by way of what clears up.
    before = handle(lambda number, _: sys.exit(stopped_by(number)))
    shared = folder.absolute()
    asked = Asked(str(shared), str(shared / f".dsva-doctor-{uuid.uuid4().hex[:8]}"), str(shards.absolute()) if shards else "")
    try:
        findings = examine(asked if cluster else replace(asked, gpus=gpus_per_node))
        if cluster:
            findings += _on_nodes(cluster, asked, wait, findings)
    finally:
        clean(asked.scratch)
        restore(before)
    if as_json:
        voice.show(json.dumps({"verdict": worst(findings), "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        voice.show(view(findings))
    raise typer.Exit(MISTAKE if worst(findings) == "FAIL" else DONE)


def _cluster(folder: Path, nodes: int, gpus: int, defaults: Path | None, partition: str | None) -> "ClusterConfig":
    """Return what is asked of Slurm, which must answer."""
    from launch.slurm.batch import check_folder, cluster_config
    from launch.submission import start

    start.decide("slurm")
    check_folder(folder.absolute())
    changes = {"nodes": nodes, "gpus_per_node": gpus or None, "partition": partition, "time": "10", "signal_seconds": 60}
    return cluster_config(defaults, {**changes, "max_crashes": 0})


def _on_nodes(cluster: "ClusterConfig", asked: Asked, wait: float, here: list[Finding]) -> list[Finding]:
    """Examine nodes, if this one can write what they are to read."""
    from launch.doctor.nodes import examine_nodes

    if any(finding.check == "renames" and finding.verdict == "FAIL" for finding in here):
        return [Finding("nodes", "FAIL", f"not examined: {asked.folder} cannot be used here", "mend that first")]
    try:
        return examine_nodes(cluster, replace(asked, gpus=cluster.gpus_per_node), wait)
    except UserError as error:
        return [Finding("nodes", "FAIL", str(error), "correct the options, or try again on a node of the cluster")]
