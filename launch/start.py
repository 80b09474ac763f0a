"""From a configuration to a run that is checked, written down and started, here or on a cluster."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from rich.console import Console

from dsva.config import Config, dump
from dsva.files import write_atomically
from dsva.train.gate import FREE, Standing, admit, differences
from dsva.train.record import read_config
from launch import cluster as slurm
from launch import snapshot
from launch.cluster import ClusterConfig
from launch.folder import JobFolder
from launch.job import Job
from launch.local import run_here
from shards.errors import UserError

Where = Literal["auto", "local", "slurm", "debug"]


class Work(Protocol):
    """A job for the cluster, which keeps its notes in the `launch.folder.JobFolder` of the directory `run`."""

    @property
    def run(self) -> Path: ...  # noqa: D102

    def __call__(self) -> object: ...  # noqa: D102


@dataclass(frozen=True)
class Checked:
    """What was learned about a run's inputs when they were checked.

    Attributes:
        inputs: their digests, as `dsva.experiment.Experiment.hashes` gives them.
        attributes: their number.
    """

    inputs: Mapping[str, str]
    attributes: int


def resolved(config: Config) -> Config:
    """Return the configuration with absolute paths, which mean the same on every node and from every folder."""
    data, classes, run, evaluation, model = config.data, config.classes, config.run, config.eval, config.model
    backbone = Path(model.backbone)
    validation = evaluation.validation_run.absolute() if evaluation.validation_run else None
    changed = {
        "data": data.model_copy(update={"shards": data.shards.absolute()}),
        "classes": classes.model_copy(
            update={
                "attributes": classes.attributes.absolute(),
                "splits": classes.splits.absolute() if classes.splits else None,
            }
        ),
        "model": model.model_copy(update={"backbone": str(backbone.absolute()) if backbone.is_dir() else model.backbone}),
        "eval": evaluation.model_copy(update={"validation_run": validation}),
        "run": run.model_copy(update={"dir": run.dir.absolute()}),
    }
    return config.model_copy(update=changed)


def check(config: Config, processes: int) -> Checked:
    """Check a run's inputs before it is queued.

    Raises:
        UserError: classes, attributes, images or the batch's arithmetic are wrong.
    """
    from dsva.experiment import Experiment  # noqa: PLC0415 (imports torch)
    from dsva.zeroshot.evaluate import check_gamma  # noqa: PLC0415

    experiment = Experiment.open(config)
    check_gamma(experiment)
    parts = processes * config.train.accumulation
    if config.data.batch_size < parts:
        raise UserError(
            f"data.batch_size={config.data.batch_size} cannot be shared by {processes} processes x {config.train.accumulation} "
            "accumulation steps: raise it, or lower those"
        )
    return Checked(experiment.hashes(), len(experiment.table.names))


def complete(config: Config, checked: Checked) -> bool:
    """Pass the gate of the configuration's run directory; say whether its run is there and complete.

    Raises:
        UserError: as `dsva.train.gate.admit`; or the run is complete, and asked for with other figures than it has.
    """
    folder = config.run.dir
    if admit(folder, config, checked.inputs) is not Standing.COMPLETE:
        return False
    for key, before, now in differences(read_config(folder), config, FREE):
        raise UserError(
            f"run.dir={folder} holds the complete run with {key}={before}, not {now}, which only scoring depends on: give "
            f"`dsva eval {folder} {key}={now}`"
        )
    return True


def write_down(config: Config) -> Path:
    """Write a configuration that has passed the gate (`dsva.train.gate`) into the run's job folder; return the run directory."""
    folder = JobFolder(config.run.dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.config, dump(config))
    return config.run.dir


def where(asked: Where) -> Where:
    """Return where `auto` leads on this machine: to Slurm if one answers.

    Raises:
        UserError: Slurm is asked for and does not answer.
    """
    if asked in ("local", "debug"):
        return asked
    try:
        subprocess.run(["scontrol", "ping"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        if asked == "auto":
            return "local"
        raise UserError(
            "--cluster slurm, but no Slurm answers here: log in to a node of the cluster, or give --cluster local"
        ) from None
    return "slurm"


def start(runs: Sequence[Path], name: str, folder: Path, place: Where, cluster: ClusterConfig, at_once: int) -> list[str]:
    """Start runs that were written down: queue them all, or carry them out one after another.

    Args:
        runs: run directories.
        name: of the Slurm job.
        folder: where the submission is kept: its code, its list of runs, scripts and output.
        place: `slurm`, `local` (processes of their own) or `debug` (this process).
        cluster: what is asked of Slurm; its number of processes counts here, too.
        at_once: how many may run at the same time on Slurm.

    Returns:
        The number of each one's job, none where they were carried out here.

    Raises:
        SystemExit: a run that was carried out here ended with another exit code than 0.
    """
    if place == "slurm":
        return queue([Job(run) for run in runs], name, folder, cluster, at_once)
    if place == "local" and cluster.nodes > 1:
        raise UserError(f"--nodes {cluster.nodes} on one machine: leave it out, or give --cluster slurm")
    codes = [Job(run)() if place == "debug" else run_here(run, cluster.processes) for run in runs]
    if any(codes):
        raise SystemExit(next(code for code in codes if code))
    return []


def queue(jobs: Sequence[Work], name: str, folder: Path, cluster: ClusterConfig, at_once: int) -> list[str]:
    """Queue jobs with a copy of the code, in the next numbered folder in `folder`; return the number of each."""
    submission = _new_folder(folder)
    snapshot.take(submission / "code")
    write_atomically(submission / "runs.json", json.dumps([str(job.run) for job in jobs], indent=1) + "\n")
    return slurm.submit(cluster, name, submission, jobs, at_once)


def show_script(runs: int, name: str, folder: Path, cluster: ClusterConfig, at_once: int, console: Console) -> None:
    """Print the batch script that `start` would submit, and submit nothing."""
    text = slurm.script(cluster, name, folder / f"{_number(folder):04d}", runs, at_once)
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _number(folder: Path) -> int:
    return 1 + max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)


def _new_folder(folder: Path) -> Path:
    """Create the next numbered folder in `folder`; jobs that are queued keep the code of theirs."""
    while True:
        new = folder / f"{_number(folder):04d}"
        try:
            new.mkdir(parents=True)
        except FileExistsError:
            continue
        return new
