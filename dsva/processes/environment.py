"""What the environment says about the processes of a run, and where this one stands among them.

torchrun and `accelerate launch` set RANK, WORLD_SIZE and LOCAL_RANK; Slurm sets SLURM_* variables, which are read here and nowhere
else. A shell may have some of them left over from something else: alone they say nothing.
"""

import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from shards.errors import UserError

# From any of these torch, Accelerate and DeepSpeed conclude that a process is one of several.
_COUNTED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# What srun says beside the number of a step's tasks.
_STEP = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST")


class Position(NamedTuple):
    """Where a process stands: its rank, the number of processes, and its rank among those on its node."""

    rank: int
    world_size: int
    local_rank: int


ALONE = Position(0, 1, 0)


def position(environment: Mapping[str, str]) -> Position:
    """Return what torch's variables say; a process is alone where they do not speak of several.

    Raises:
        UserError: they contradict each other, or speak of several processes and not of this one.
    """
    if environment.get("WORLD_SIZE", "1") == "1" and environment.get("RANK", "0") == "0":
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if missing := [name for name in names if name not in environment]:
        said = " ".join(f"{name}={environment[name]}" for name in names if name in environment)
        raise UserError(f"{said} without {' and '.join(missing)}: set all three, as torchrun does, or leave all unset")
    found = Position(*(_number(environment, name) for name in names))
    if found.rank >= found.world_size:
        raise UserError(
            f"RANK={found.rank} is not below WORLD_SIZE={found.world_size}: correct the environment, or leave both unset"
        )
    return found


def forget_others(environment: MutableMapping[str, str]) -> None:
    """Remove what would make torch, Accelerate or DeepSpeed wait for other processes."""
    for name in _COUNTED:
        environment.pop(name, None)


@dataclass(frozen=True)
class SlurmJob:
    """The job in which Slurm started this process, as its batch script or by srun.

    Attributes:
        number: of this very job; each task of an array has one of its own.
        array: number of the array that it is a task of; None where it is none.
        index: of the task in its array; 0 where it is none.
        restarts: how often it was queued again.
    """

    number: str
    array: str | None
    index: int
    restarts: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """Read it; None where Slurm did not start this process: a shell that salloc has opened may start what it likes, twice too.

        Raises:
            UserError: the index of an array's task is no number.
        """
        if "SLURM_PROCID" not in environment or "SLURM_JOB_ID" not in environment:
            return None
        restarts = environment.get("SLURM_RESTART_COUNT", "")
        return cls(
            environment["SLURM_JOB_ID"],
            environment.get("SLURM_ARRAY_JOB_ID"),
            _number(environment, "SLURM_ARRAY_TASK_ID", "0"),
            int(restarts) if restarts.isdecimal() else 0,
        )

    @property
    def name(self) -> str:
        """What Slurm's programs call it, ARRAY_INDEX in an array; it keeps its name when it is requeued."""
        return f"{self.array}_{self.index}" if self.array else self.number


@dataclass(frozen=True)
class SlurmStep:
    """The step of srun, of several tasks, of which this process is one.

    Attributes:
        position: of this process among the tasks.
        name: of the step, JOB.STEP.
        nodes: on which its tasks run, as Slurm lists them.
    """

    position: Position
    name: str
    nodes: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """Read it; None elsewhere, and in a step of one task.

        A batch script itself is no step: only srun's tasks have SLURM_STEP_* variables.

        Raises:
            UserError: a part of what srun says is missing, or no number.
        """
        if (tasks := _number(environment, "SLURM_STEP_NUM_TASKS", "1")) == 1:
            return None
        if missing := [name for name in _STEP if name not in environment]:
            raise UserError(f"SLURM_STEP_NUM_TASKS={tasks} without {' and '.join(missing)}: start with srun, or unset what it left")
        found = Position(_number(environment, "SLURM_PROCID"), tasks, _number(environment, "SLURM_LOCALID"))
        return cls(found, f"{environment['SLURM_JOB_ID']}.{environment['SLURM_STEP_ID']}", environment["SLURM_STEP_NODELIST"])


def first_host(nodes: str) -> str:
    """Return the first host of a Slurm node list such as `gpu[03-05,9],login` or `rack[1-2]-ib[0-3]`.

    Raises:
        UserError: it is no such list.
    """
    # Commas part hosts outside of brackets; within each pair the first number counts, with its zeros.
    first = re.match(r"(?:[^,\[\]\s]|\[\w+(?:[-,]\w+)*\])+(?=,|$)", nodes)
    if not first:
        raise UserError(f"SLURM_STEP_NODELIST={nodes!r} names no host: set MASTER_ADDR, RANK, WORLD_SIZE and LOCAL_RANK instead")
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0])


def node_name() -> str:
    """Return the name of this machine, as Slurm calls it where it does."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    """Return a variable's number.

    Raises:
        UserError: it is none.
    """
    value = environment.get(name, default)
    if not value.isdecimal():
        raise UserError(f"the environment variable {name}={value!r} is not a number: correct it, or leave it unset")
    return int(value)
