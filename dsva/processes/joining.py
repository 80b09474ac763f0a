"""Joining the processes of a run: what the environment says of them, put where torch, Accelerate and DeepSpeed look for it."""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from dsva.processes.environment import forget_others, position
from dsva.processes.rendezvous import HERE, from_slurm

# Longer than the slowest thing that a rank does while the others wait, which is to check a checkpoint's hashes.
TIMEOUT = timedelta(minutes=30)
GPUS = Path("/proc/driver/nvidia/gpus")
INFINIBAND = Path("/sys/class/infiniband")
# A group that is freed joins gloo's thread with the interpreter's lock in hand. While that thread wants the lock, to drop
# a tensor of the last exchange, both wait for ever: so the group is kept to the end of the process.
_kept: list[object] = []


@contextmanager
def set_environment(environment: MutableMapping[str, str], deepspeed: bool = False) -> Iterator[None]:
    """Change the environment for the time of the block, so that the packages which join processes agree on what they are.

    What is missing is added, and what `accelerate launch` says beside the number of processes removed: what they do, the
    configuration says alone. For one process, what speaks of others is removed. Then all is as it was found.

    Args:
        environment: `os.environ` in use.
        deepspeed: whether DeepSpeed will look at it, which needs a group even of one process.

    Raises:
        UserError: the variables contradict each other.
    """
    before = dict(environment)
    try:
        _set(environment, deepspeed)
        yield
    finally:
        for name in environment.keys() - before.keys():
            del environment[name]
        environment.update(before)


def _set(environment: MutableMapping[str, str], deepspeed: bool) -> None:
    for name in [name for name in environment if name.startswith("ACCELERATE_")]:
        del environment[name]
    if deepspeed and not torch.cuda.is_available():
        environment["DS_ACCELERATOR"] = "cpu"
    environment.update(from_slurm(environment, torch.cuda.device_count()))
    for name, value in nccl_choices(GPUS, INFINIBAND).items():
        environment.setdefault(name, value)
    if position(environment).world_size == 1:
        forget_others(environment)
        environment.update({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"} if deepspeed else {})
    else:
        for name, value in HERE.items():
            environment.setdefault(name, value)


def join(environment: Mapping[str, str], alone: bool) -> int:
    """Join the processes that the environment speaks of; return how many there are.

    Args:
        environment: as `set_environment` leaves it; `os.environ` in use.
        alone: form a group even with one process only, as DeepSpeed needs it.

    Raises:
        UserError: the variables contradict each other.
    """
    _, world_size, local_rank = position(environment)
    if dist.is_initialized() or (world_size == 1 and not alone):
        return world_size
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local_rank)
    backend = "nccl" if on_gpu else "gloo"
    if world_size == 1:
        dist.init_process_group(backend, timeout=TIMEOUT, store=HashStore(), rank=0, world_size=1)
    else:
        dist.init_process_group(backend, timeout=TIMEOUT)
    _kept.append(dist.group.WORLD)
    return world_size


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
