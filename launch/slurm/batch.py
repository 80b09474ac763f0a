"""What is asked of Slurm for a job, and the batch script that asks for it, through submitit."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator
from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError
from submitit.helpers import clean_env
from submitit.slurm.slurm import _make_sbatch_string

from dsva.settings import Section, read
from dsva.train.stopping import SIGNAL_SECONDS
from launch.jobs.worker import START
from shards.errors import UserError

# submitit counts the times that a job ran into its time limit and ends it after a few; progress decides here, not that.
NO_LIMIT = 10**6
SIGNAL = "USR2"  # NCCL may take USR1 for itself
START_SECONDS = 120  # a job has to be up before it can be asked to save


class ClusterConfig(Section):
    """What a job asks of Slurm; configs/cluster/*.yaml, and the options of `dsva submit`."""

    nodes: int = Field(default=1, ge=1)
    """Machines."""
    gpus_per_node: int = Field(default=0, ge=0)
    """GPUs of each node, with one process each; 0 for nodes without GPUs."""
    gpu: str = ""
    """What torch calls its GPUs, such as `NVIDIA GeForce RTX 4090`: for the estimate of hours."""
    gpu_memory_gb: int = Field(default=0, ge=0)
    """Memory of a GPU: runs that need more are refused before they are queued; 0 where it is not known."""
    tasks_per_node: int = Field(default=1, ge=1)
    """Processes of each node, where there are no GPUs."""
    cpus_per_task: int = Field(default=2, ge=1)
    """Processors of each process: its own, and those that read and decode."""
    memory_gb: int = Field(default=0, ge=0)
    """Main memory of each node; 0 takes what the cluster gives by default."""
    time: str = "12:00:00"
    """Time limit: D-HH:MM:SS, HH:MM:SS, or minutes. A job that reaches it saves and queues again."""
    partition: str | None = None
    """Partition; none takes the cluster's default."""
    account: str | None = None
    """Account that is charged."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that nodes must have."""
    signal_seconds: int = Field(default=120, ge=10)
    """How long before the end a job is told to save: more than one step and one checkpoint take."""
    max_crashes: int = Field(default=3, ge=0)
    """How often a run may crash and start again without getting to a new checkpoint."""
    setup: tuple[str, ...] = ()
    """Shell lines before the processes start, such as `module load cuda`."""
    sbatch: dict[str, str] = Field(default_factory=dict)
    """Other options of sbatch, such as `exclude: node7`."""

    @property
    def processes_per_node(self) -> int:
        """Processes of each node: one for a GPU."""
        return self.gpus_per_node or self.tasks_per_node

    @property
    def processes(self) -> int:
        """Processes of the whole job."""
        return self.nodes * self.processes_per_node

    @property
    def minutes(self) -> int:
        """The time limit."""
        return minutes(self.time)

    @model_validator(mode="after")
    def _time(self) -> Self:
        if minutes(self.time) * 60 < self.signal_seconds + START_SECONDS:
            raise ValueError(
                f"time={self.time} leaves no time to work: give more than {START_SECONDS} s beyond "
                f"signal_seconds={self.signal_seconds}"
            )
        return self


def minutes(time: str) -> int:
    """Return a time limit in minutes, rounded up."""
    if time.isdigit():
        return int(time)
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", time)
    if not found:
        raise ValueError(f"time={time!r} is no time limit: write D-HH:MM:SS, HH:MM:SS, or minutes")
    days, hours, whole, seconds = (int(part or 0) for part in found.groups())
    return days * 1440 + hours * 60 + whole + (seconds > 0)


def cluster_config(file: Path | None, changes: Mapping[str, Any]) -> ClusterConfig:
    """Read a cluster's defaults and change what is given and not None.

    Raises:
        UserError: unreadable, unknown key, or a value out of range.
    """
    return read(ClusterConfig, file, {name: value for name, value in changes.items() if value not in (None, [])})


def check_folder(folder: Path) -> None:
    """Refuse a folder of jobs with signs in its path that mean something to Slurm in paths of output, or part PYTHONPATH.

    Raises:
        UserError: it has such a sign.
    """
    if signs := sorted({sign for sign in str(folder) if sign in r"%\:" or not sign.isprintable()}):
        raise UserError(
            f"{str(folder)!r} cannot hold jobs of Slurm, which would look elsewhere for output and code because of "
            f"{', '.join(map(repr, signs))}: give a folder without"
        )


def parameters(cluster: ClusterConfig, name: str, folder: Path, at_once: int) -> dict[str, Any]:
    """Return submitit's parameters of a job or job array.

    Args:
        cluster: what is asked for.
        name: of the job.
        folder: of the submission, which holds its code and its list of runs.
        at_once: tasks of an array that run at the same time.
    """
    code = shlex.quote(str(folder / "code"))
    optional = {key: getattr(cluster, key) for key in ("partition", "account", "qos", "constraint") if getattr(cluster, key)}
    if cluster.gpus_per_node:
        optional["gpus_per_node"] = cluster.gpus_per_node
    if cluster.memory_gb:
        optional["mem"] = f"{cluster.memory_gb}GB"
    after = shlex.join([sys.executable, "-m", "launch.slurm.requeue", str(folder / "runs.json"), str(cluster.max_crashes)])
    return {
        "job_name": name,
        "nodes": cluster.nodes,
        "ntasks_per_node": cluster.processes_per_node,
        "cpus_per_task": cluster.cpus_per_task,
        "time": cluster.minutes,
        "signal_delay_s": cluster.signal_seconds,
        "array_parallelism": at_once,
        # The code as it was submitted, and nothing from the folder that sbatch was called in.
        "setup": [
            *cluster.setup,
            f"export PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONSAFEPATH=1 {SIGNAL_SECONDS}={cluster.signal_seconds}",
            f"export SUBMITIT_PREEMPT_SIGNAL={SIGNAL}",
        ],
        # A process that fails takes the others along, which would wait for it for ever. srun does not take over what
        # sbatch was told about processors.
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cluster.cpus_per_task}"],
        "teardown": ["code=$?", f"[ $code = 0 ] || {after} $code", "exit $code"],
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, "signal": f"{SIGNAL}@{cluster.signal_seconds}", **cluster.sbatch},
        **optional,
    }


def after(cluster: ClusterConfig, job: str) -> ClusterConfig:
    """Return the same demands for a job that waits until `job` has ended, whatever its end."""
    waits = ",".join(filter(None, [cluster.sbatch.get("dependency"), f"afterany:{job}"]))
    return cluster.model_copy(update={"sbatch": {**cluster.sbatch, "dependency": waits}})


def script(cluster: ClusterConfig, name: str, folder: Path, runs: int, at_once: int) -> str:
    """Return the text that `submit` gives to sbatch, for a job of `runs` runs."""
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    array = {"map_count": runs} if runs > 1 else {}
    text: str = _make_sbatch_string(command, folder, **parameters(cluster, name, folder, at_once), **array)
    return text


def submit(cluster: ClusterConfig, name: str, folder: Path, jobs: Sequence[Callable[[], object]], at_once: int) -> list[str]:
    """Queue jobs, as one array where there are several; return the number of each.

    Raises:
        UserError: sbatch refuses.
    """
    with _outside_of_jobs():
        executor = SlurmExecutor(folder, max_num_timeout=NO_LIMIT)
        executor.update_parameters(**parameters(cluster, name, folder, at_once))
        try:
            with executor.batch():
                queued = [executor.submit(job) for job in jobs]
            return [str(job.job_id) for job in queued]
        except FailedJobError as error:
            said = [line for line in str(error).splitlines() if "error" in line] or str(error).splitlines()[-1:]
            raise UserError(f"sbatch refuses: {' '.join(said).strip()}") from None


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide the job that this may be called from; where Slurm's configuration lies stays known."""
    where = os.environ.get("SLURM_CONF")
    with clean_env([START, SIGNAL_SECONDS]):
        if where:
            os.environ["SLURM_CONF"] = where
        yield
