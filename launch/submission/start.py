"""From a configuration to a run that is checked, written down and started, here or on a cluster."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from dsva.config import Config, dump
from dsva.exit_codes import DONE, signal_of
from dsva.files import write_atomically
from dsva.processes.environment import forget_others
from dsva.runs.gate import Standing, admit
from dsva.runs.identity import FREE, differences
from dsva.runs.record import read_config
from dsva.train.stopping import SIGNALS
from launch.jobs.folder import JobFolder
from launch.jobs.local import run_here
from launch.slurm import batch as slurm
from launch.slurm.arrays import spread
from launch.slurm.batch import ClusterConfig
from launch.slurm.client import answers, array_limit, array_of
from launch.submission import snapshot
from launch.submission.job import Job
from shards.errors import UserError

Where = Literal["auto", "local", "slurm", "debug"]


class Work(Protocol):
    """A job for the cluster, which keeps its notes in the `launch.jobs.folder.JobFolder` of the directory `run`."""

    @property
    def run(self) -> Path: ...  # noqa: D102

    def __call__(self) -> object: ...  # noqa: D102


@dataclass(frozen=True)
class Queued:
    """A job in Slurm's queue: its number, ARRAY_INDEX in an array, and the file with the output of its rank 0."""

    number: str
    log: Path


@dataclass(frozen=True)
class Checked:
    """What was learned about a run's inputs when they were checked.

    Attributes:
        inputs: their digests, as `dsva.protocol.experiment.Experiment.hashes` gives them.
        attributes: their number.
    """

    inputs: Mapping[str, str]
    attributes: int


def check(config: Config, processes: int) -> Checked:
    """Check a run's inputs before it is queued.

    Raises:
        UserError: classes, attributes, images or the batch's arithmetic are wrong.
    """
    from dsva.evaluation.evaluate import check_gamma  # noqa: PLC0415
    from dsva.protocol.experiment import Experiment  # noqa: PLC0415 (imports torch)

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
        UserError: as `dsva.runs.gate.admit`; or the run is complete, and asked for with other figures than it has.
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
    """Write a configuration that has passed the gate (`dsva.runs.gate`) into the run's job folder; return the run directory."""
    folder = JobFolder(config.run.dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.config, dump(config))
    return config.run.dir


def decide(asked: Where) -> Where:
    """Return where `auto` leads on this machine: to Slurm if one answers.

    Raises:
        UserError: Slurm is asked for and does not answer.
    """
    if asked in ("local", "debug"):
        return asked
    if answers():
        return "slurm"
    if asked == "slurm":
        raise UserError("--cluster slurm, but no Slurm answers here: log in to a node of the cluster, or give --cluster local")
    return "local"


def check_where(where: Where, folder: Path, cluster: ClusterConfig) -> None:
    """Refuse what cannot be started at `where`, before anything is written; `folder` is where the submission is kept.

    Raises:
        UserError: several nodes are asked for on one machine, or the folder's name is none for Slurm.
    """
    if where == "slurm":
        slurm.check_folder(folder)
    elif where == "local" and cluster.nodes > 1:
        raise UserError(f"--nodes {cluster.nodes} on one machine: leave it out, or give --cluster slurm")


def start(runs: Sequence[Path], name: str, folder: Path, where: Where, cluster: ClusterConfig, at_once: int) -> Iterator[Queued]:
    """Start runs that were written down: queue them all, or carry them out one after another.

    Args:
        runs: run directories.
        name: of the Slurm job.
        folder: where the submission is kept: its code, its list of runs, scripts and output.
        where: `slurm`, `local` (processes of their own) or `debug` (this process alone).
        cluster: what is asked of Slurm; its number of processes counts here, too.
        at_once: how many may run at the same time on Slurm.

    Returns:
        What `queue` yields; nothing where they were carried out here.

    Raises:
        SystemExit: a run that was carried out here ended with another exit code than 0.
    """
    if where == "slurm":
        return queue([Job(run) for run in runs], name, folder, cluster, at_once)
    if where == "debug":
        forget_others(os.environ)
    code = DONE
    for run in runs:
        ended = Job(run)() if where == "debug" else run_here(run, cluster.processes)
        code = code or ended
        if signal_of(ended) in SIGNALS:  # who stops one run, by Ctrl-C say, wants no other to begin
            break
    if code:
        raise SystemExit(code)
    return iter(())


def queue(jobs: Sequence[Work], name: str, folder: Path, cluster: ClusterConfig, at_once: int) -> Iterator[Queued]:
    """Queue jobs with a copy of the code, in as few arrays as Slurm takes, each from the next numbered folder in `folder`.

    Yields:
        Each job, in order, as soon as its array is queued.

    Raises:
        UserError: sbatch refuses an array; those before it are queued, and nothing is left of this one.
    """
    queued: list[str] = []
    for share in spread(len(jobs), at_once, array_limit()):
        asked = slurm.after(cluster, queued[share.after]) if share.after is not None else cluster
        submission, own = _new_folder(folder), jobs[share.jobs]
        try:
            snapshot.take(submission / "code")
            write_atomically(submission / "runs.json", json.dumps([str(job.run) for job in own], indent=1) + "\n")
            numbers = slurm.submit(asked, name, submission, own, share.at_once)
        except UserError as error:
            shutil.rmtree(submission)
            others = f" ({share.jobs.start} of {len(jobs)} jobs are queued; the same command goes on with the others)"
            raise UserError(f"{error}{others if queued else ''}") from None
        queued.append(array_of(numbers[0]))
        yield from (Queued(number, submission / f"{number}_0_log.out") for number in numbers)


def scripts(runs: int, name: str, folder: Path, cluster: ClusterConfig, at_once: int) -> Iterator[str]:
    """Yield the batch scripts that `start` would submit, one for each array; submit nothing."""
    slurm.check_folder(folder)
    limit = array_limit() if decide("auto") == "slurm" else runs
    for number, share in enumerate(spread(runs, at_once, limit), _number(folder)):
        yield slurm.script(cluster, name, folder / f"{number:04d}", share.jobs.stop - share.jobs.start, share.at_once)


def _number(folder: Path) -> int:
    return 1 + max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=0)


def _new_folder(folder: Path) -> Path:
    """Create the next numbered folder in `folder`; jobs that are queued keep the code of theirs."""
    while True:
        new = folder / f"{_number(folder):04d}"
        try:
            new.mkdir(parents=True)
        except FileExistsError:
            continue
        return new
