"""Reading what a run wrote."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def checkpoints(run: Path) -> list[Path]:
    """The folders of a run's checkpoints, the newest last."""
    return sorted((run / "checkpoints").glob("step-[0-9]*"))


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Everything that a checkpoint holds, by name."""
    return {name: tensor for file in sorted(checkpoint.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def finished(run: Path) -> dict[str, torch.Tensor]:
    """Everything in the newest checkpoint of a run."""
    return tensors(checkpoints(run)[-1])


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], atol: float = 0) -> None:
    """Compare all tensors, to the bit if nothing else is said."""
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=atol, msg=(name + ": {}").format)


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, of which the last is still being written, or the file yet to come, while a run goes on."""
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def column(run: Path, name: str) -> list[Any]:
    """One figure of every line that has it."""
    return [line[name] for line in metrics(run) if name in line]


def board(run: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of one figure: (step, value)."""
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def results(run: Path) -> dict[str, Any]:
    """results.json but for what differs between two equal runs."""
    read: dict[str, Any] = json.loads((run / "results.json").read_text())
    del read["provenance"]
    return read


def flipped(content: bytes) -> bytes:
    """Flip one bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def cut(content: bytes) -> bytes:
    """Keep the first half."""
    return content[: len(content) // 2]


def one_line(output: str, names: Iterable[str]) -> str:
    """Return the error that a refused command printed: one sentence that names these, and nothing else."""
    lines = output.strip().splitlines()
    assert "Traceback" not in output, output
    assert lines[-1].startswith("error: "), output
    for name in names:
        assert name in lines[-1], output
    return lines[-1]
