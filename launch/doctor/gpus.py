"""GPUs: the driver, torch's CUDA, and copies from one GPU to another."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import TYPE_CHECKING

from launch.doctor.finding import Asked, Finding

if TYPE_CHECKING:
    import torch

# torch is imported where there are GPUs only: on a login node without any, the checks take no time.
# ruff: noqa: PLC0415

QUERY = ["--query-gpu=name,driver_version", "--format=csv,noheader"]
COPIED = 1 << 22  # numbers in a copy, 16 MiB
NONE = "no GPU here, so nothing to test"


def seen(program: str = "nvidia-smi") -> list[tuple[str, str]]:
    """Return name and driver version of each GPU; none where there is no driver.

    Raises:
        OSError: the driver is there, but does not answer.
    """
    if not shutil.which(program):
        return []
    done = subprocess.run([program, *QUERY], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(f"{program}: {(done.stdout + done.stderr).strip().splitlines()[-1:] or 'no answer'}")
    pairs = (line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line)
    return [(name.strip(), driver.strip()) for name, driver in pairs]


def driver(asked: Asked, program: str = "nvidia-smi") -> Finding:
    """Count the GPUs that the driver knows."""
    found = seen(program)
    if len(found) < asked.gpus:
        return Finding(
            "driver",
            "FAIL",
            f"{len(found)} GPUs, {asked.gpus} asked for",
            "give the partition or constraint of the nodes with GPUs; if these are they, their driver has to be installed",
        )
    if not found:
        return Finding("driver", "OK", NONE)
    kinds = {name: sum(name == other for other, _ in found) for name, _ in found}
    return Finding("driver", "OK", ", ".join(f"{count} x {name}" for name, count in kinds.items()) + f", driver {found[0][1]}")


def cuda(_: Asked) -> Finding:
    """Ask torch whether it can use the GPUs that the driver knows."""
    found = seen()
    if not found:
        return Finding("cuda", "OK", NONE)
    import torch

    if torch.version.cuda is None:
        return Finding("cuda", "FAIL", f"torch {torch.__version__} is built without CUDA", "install a build of torch with CUDA")
    if not torch.cuda.is_available() or torch.cuda.device_count() < len(found):
        return Finding(
            "cuda",
            "FAIL",
            f"torch sees {torch.cuda.device_count()} of {len(found)} GPUs (CUDA {torch.version.cuda}, driver {found[0][1]})",
            f"install a driver for CUDA {torch.version.cuda}, or a build of torch for an older CUDA; look at CUDA_VISIBLE_DEVICES",
        )
    return Finding(
        "cuda", "OK", f"CUDA {torch.version.cuda}, {torch.cuda.device_count()} GPUs, bf16: {torch.cuda.is_bf16_supported()}"
    )


def peers(_: Asked) -> Finding:
    """Copy between all pairs of GPUs and compare: some drivers offer copies that arrive wrong."""
    if len(seen()) < 2:
        return Finding("copies between GPUs", "OK", "fewer than two GPUs here, so nothing to test")
    import torch

    devices = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    reach = sum(torch.cuda.can_device_access_peer(one, other) for one, other in permutations(range(len(devices)), 2))
    return judge_copies(wrong_copies(devices), f"{reach} of {len(devices) * (len(devices) - 1)} pairs reach each other's memory")


def wrong_copies(
    devices: Sequence["torch.device"],
    copy: Callable[["torch.Tensor", "torch.device"], "torch.Tensor"] = lambda tensor, device: tensor.to(device, copy=True),
) -> list[str]:
    """Return the pairs of devices between which a copy of random numbers arrives changed."""
    import torch

    numbers = torch.randint(1 << 30, (COPIED,), dtype=torch.int32, generator=torch.Generator().manual_seed(0))
    pairs = permutations(devices, 2)
    return [f"{one} to {other}" for one, other in pairs if not copy(numbers.to(one), other).cpu().equal(numbers)]


def judge_copies(wrong: Sequence[str], reach: str) -> Finding:
    """Say what the copies tell."""
    if wrong:
        mend = "set NCCL_P2P_DISABLE=1 for every run (setup: in the cluster's file), and update the driver"
        return Finding("copies between GPUs", "FAIL", f"copies arrive changed: {', '.join(wrong[:4])}; {reach}", mend)
    return Finding("copies between GPUs", "OK", f"all arrive as they were sent; {reach}")
