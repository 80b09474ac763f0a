"""What a run spends: operations against the device's peak, energy, and the summary of it all at the end."""

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from dsva.files import read_lines, read_object
from dsva.processes.ranks import Ranks

PAUSE = 30.0  # seconds between two looks at a device's power: nvidia-smi takes a tenth of one


class Cost(BaseModel):
    """What the training took: a mean over the time of all logged steps, saves and validations between them included.

    `tflops` are TFLOP/s of one process by the formula of `dsva.cost`, `mfu` their share of the device's peak in bf16, None
    where that is unknown; `memory_mib` the most that a process took (of a GPU where there is one); `kwh` all GPUs' energy from
    samples of their power, None where nothing tells it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    device: str
    processes: int
    hours: float
    images_per_second: float
    tflops: float
    mfu: float | None
    memory_mib: float
    kwh: float | None


def device_name(device: torch.device) -> str:
    """Return the name of a device's model, such as NVIDIA GeForce RTX 4090; "cpu" without a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def hardware(ranks: Ranks) -> dict[str, Any]:
    """Return what the last bits of a result depend on beside the configuration: devices, their number, threads on a CPU."""
    threads = {"threads": torch.get_num_threads()} if ranks.device.type == "cpu" else {}
    return {
        "device": str(ranks.device),
        "device_name": device_name(ranks.device),
        "world_size": ranks.world_size,
        **threads,
    }


class Power:
    """The power that a GPU draws, as nvidia-smi tells it."""

    def __init__(self, device: torch.device) -> None:
        self._asks = device.type == "cuda"
        self._name = f"GPU-{torch.cuda.get_device_properties(device).uuid}" if self._asks else ""
        self._watts: float | None = None
        self._asked = float("-inf")

    def watts(self) -> float | None:
        """Return the power in W, at most `PAUSE` seconds old; None where nothing tells it."""
        if self._asks and time.monotonic() - self._asked > PAUSE:
            self._watts = ask_watts(["nvidia-smi", f"--id={self._name}"])
            self._asks, self._asked = self._watts is not None, time.monotonic()
        return self._watts


def ask_watts(command: list[str]) -> float | None:
    """Return what nvidia-smi, called as `command` and options of our own, says of a GPU's power in W."""
    options = ["--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=5, check=True)
        return float(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def summed_up(metrics: Path, environment: Path) -> Cost | None:
    """Sum up what metrics.jsonl says of all steps; None where nothing was logged.

    Args:
        metrics: of the run.
        environment: environment.json of the run, for the device of its last start.
    """
    device = read_object(environment)
    lines = [line for line in read_lines(metrics) if "interval_seconds" in line]
    seconds = sum(line["interval_seconds"] for line in lines)
    if not seconds or "device_name" not in device:
        return None
    watts = _mean(lines, "watts")
    return Cost(
        device=device["device_name"],
        processes=device["world_size"],
        hours=seconds / 3600,
        images_per_second=_mean(lines, "images_per_second") or 0.0,
        tflops=_mean(lines, "tflops") or 0.0,
        mfu=_mean(lines, "mfu"),
        memory_mib=max(line["memory_mib"] for line in lines),
        kwh=None if watts is None else watts * seconds / 3.6e6,
    )


def _mean(lines: Iterable[dict[str, Any]], name: str) -> float | None:
    """Return the mean over time of a figure; None where a line lacks it."""
    weighted = [(line.get(name), line["interval_seconds"]) for line in lines]
    if any(value is None for value, _ in weighted):
        return None
    return float(sum(value * seconds for value, seconds in weighted) / sum(seconds for _, seconds in weighted))
