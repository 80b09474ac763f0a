"""What the environment says about the processes of a run, put where torch, Accelerate and DeepSpeed look for it.

torchrun and `accelerate launch` set RANK, WORLD_SIZE and LOCAL_RANK; srun sets SLURM_* variables, from which they follow.
"""

import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from shards.errors import UserError

# Longer than the slowest thing that a rank does while the others wait, which is to check a checkpoint's hashes.
TIMEOUT = timedelta(minutes=30)
# Below the ephemeral ports, where the kernel would hand the same number to somebody's connection.
FIRST_PORT, PORTS = 20000, 10000
GPUS = Path("/proc/driver/nvidia/gpus")
INFINIBAND = Path("/sys/class/infiniband")
# A group that is freed joins gloo's thread with the interpreter's lock in hand. While that thread wants the lock, to drop
# a tensor of the last exchange, both wait for ever: so the group is kept to the end of the process.
_kept: list[object] = []


def join(environment: MutableMapping[str, str], alone: bool) -> int:
    """Join the processes that the environment speaks of; return how many there are.

    Args:
        environment: what is missing in it is added, `os.environ` in use.
        alone: form a group even with one process only, as DeepSpeed needs it.

    Raises:
        UserError: the variables contradict each other.
    """
    for name, value in (from_slurm(environment, torch.cuda.device_count()) | nccl_choices(GPUS, INFINIBAND)).items():
        environment.setdefault(name, value)
    world_size = _number(environment, "WORLD_SIZE", 1)
    rank = _number(environment, "RANK", 0)
    if rank >= world_size:
        raise UserError(f"RANK={rank} is not below WORLD_SIZE={world_size}: correct the environment, or leave both unset")
    if dist.is_initialized() or (world_size == 1 and not alone):
        return world_size
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(_number(environment, "LOCAL_RANK", 0))
    backend = "nccl" if on_gpu else "gloo"
    if world_size == 1:
        environment.update({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"})
        dist.init_process_group(backend, timeout=TIMEOUT, store=HashStore(), rank=0, world_size=1)
    else:
        for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
            environment.setdefault(name, value)
        dist.init_process_group(backend, timeout=TIMEOUT)
    _kept.append(dist.group.WORLD)
    return world_size


def from_slurm(environment: Mapping[str, str], gpus: int) -> dict[str, str]:
    """Return torch's variables for a task of srun; nothing elsewhere, or where they are set.

    Args:
        environment: of this process. A batch script itself is no step: only srun's tasks have SLURM_STEP_* variables.
        gpus: that this process sees; one of its own is number 0 on every rank.
    """
    if "RANK" in environment or int(environment.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return {}
    local = int(environment["SLURM_LOCALID"])
    job = int(environment["SLURM_JOB_ID"]) + int(environment["SLURM_STEP_ID"])
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": str(local % gpus if gpus else local),
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(FIRST_PORT + job % PORTS),
    }


def first_host(nodes: str) -> str:
    """Return the first host of a Slurm node list such as `gpu[03-05,9],login`."""
    found = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\]([^,]*))?", nodes)
    if not found:
        raise UserError(f"SLURM_STEP_NODELIST={nodes!r} names no host: set MASTER_ADDR, RANK, WORLD_SIZE and LOCAL_RANK instead")
    return "".join(part for part in found.groups() if part)


def nccl_choices(gpus: Path, infiniband: Path) -> dict[str, str]:
    """Return what NCCL has to be told on this machine, before CUDA starts.

    RTX 4090 cards cannot reach each other's memory, which old drivers do not tell NCCL. Whether InfiniBand joins the
    nodes has nothing to do with it, but Accelerate wants to see both chosen.
    """
    models = [file.read_text(errors="replace") for file in gpus.glob("*/information")]
    if not any("RTX 4090" in model for model in models):
        return {}
    joined = infiniband.is_dir() and any(infiniband.iterdir())
    return {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "0" if joined else "1"}


def described() -> str:
    """Return a sentence on what NCCL was told, for the log; empty where it was told nothing."""
    told = [f"{name}={os.environ[name]}" for name in ("NCCL_P2P_DISABLE", "NCCL_IB_DISABLE") if name in os.environ]
    return f"NCCL is told {' '.join(told)}" if told and torch.cuda.is_available() else ""


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, str(default))
    if not value.isdigit():
        raise UserError(f"the environment variable {name}={value!r} is not a number: correct it, or leave it unset")
    return int(value)
