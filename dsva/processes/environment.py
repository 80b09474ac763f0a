"""What the environment says about the processes of a run, and where this one stands among them.

torchrun and `accelerate launch` set RANK, WORLD_SIZE and LOCAL_RANK; srun sets SLURM_* variables, from which they follow.
A shell may have some of them left over from something else: alone they say nothing.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

from shards.errors import UserError

# Below the ephemeral ports, where the kernel would hand the same number to somebody's connection.
FIRST_PORT, PORTS = 20000, 10000
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
    found = Position(*(number(environment, name) for name in names))
    if found.rank >= found.world_size:
        raise UserError(
            f"RANK={found.rank} is not below WORLD_SIZE={found.world_size}: correct the environment, or leave both unset"
        )
    return found


def forget_others(environment: MutableMapping[str, str]) -> None:
    """Remove what would make torch, Accelerate or DeepSpeed wait for other processes."""
    for name in _COUNTED:
        environment.pop(name, None)


def from_slurm(environment: Mapping[str, str], gpus: int) -> dict[str, str]:
    """Return torch's variables for a task of srun; nothing elsewhere, or where a launcher of torch's has set them.

    Args:
        environment: of this process. A batch script itself is no step: only srun's tasks have SLURM_STEP_* variables.
        gpus: that this process sees; one of its own is number 0 on every rank.

    Raises:
        UserError: a part of what srun says is missing, or no number.
    """
    launched = "RANK" in environment and "WORLD_SIZE" in environment
    if launched or (tasks := number(environment, "SLURM_STEP_NUM_TASKS", "1")) == 1:
        return {}
    if missing := [name for name in _STEP if name not in environment]:
        raise UserError(f"SLURM_STEP_NUM_TASKS={tasks} without {' and '.join(missing)}: start with srun, or unset what it left")
    local = number(environment, "SLURM_LOCALID")
    job = number(environment, "SLURM_JOB_ID") + number(environment, "SLURM_STEP_ID")
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": f"{tasks}",
        "LOCAL_RANK": str(local % gpus if gpus else local),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": environment.get("MASTER_PORT") or str(FIRST_PORT + job % PORTS),
    }


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


def number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    """Return a variable's number.

    Raises:
        UserError: it is none.
    """
    value = environment.get(name, default)
    if not value.isdecimal():
        raise UserError(f"the environment variable {name}={value!r} is not a number: correct it, or leave it unset")
    return int(value)
