"""Checkpoints: a folder of safetensors files that exists when it is COMPLETE.

Every rank writes the tensors that are its part of a flat, layout-free state (full tensors by name), so
all ranks share the work and any number of ranks can read it back. A checkpoint is written beside its
place, described last by COMPLETE (sizes and hashes of all files), and renamed; a crash at any moment
leaves either a whole checkpoint or a folder that is not looked at.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dsva.ranks import Ranks
from shards.errors import UserError
from shards.index import file_sha256

COMPLETE, STATE = "COMPLETE", "state.json"
PREFIX = "step-"
MODEL, OPTIMIZER, EMA = "model", "optimizer", "ema"  # what a tensor's name begins with


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk.

    Attributes:
        path: its folder.
        step: optimizer steps that were taken before it was written.
    """

    path: Path
    step: int

    def state(self) -> dict[str, Any]:
        """Return the plain values saved beside the tensors."""
        return dict(json.loads((self.path / STATE).read_text()))

    def by_kind(self) -> dict[str, dict[str, Tensor]]:
        """Return every saved tensor by kind (model, optimizer, ema) and name."""
        kinds: dict[str, dict[str, Tensor]] = {}
        for file in sorted(self.path.glob("*.safetensors")):
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118 (safe_open is no mapping)
                    kind, name = key.split("/", 1)
                    kinds.setdefault(kind, {})[name] = opened.get_tensor(key)
        return kinds

    def refuse_other_data(self, digest: str) -> None:
        """Raise a UserError unless the checkpoint was trained on the shard set of this digest."""
        if (trained := self.state()["data"]) != digest:
            raise UserError(
                f"{self.path} was trained on the shard set with digest {trained[:12]}, data.shards has {digest[:12]}: "
                "give the set it began with, or another run.dir"
            )

    def sha256(self) -> str:
        """Return the hash of the COMPLETE marker, which holds the hashes of all files: the identity of the weights."""
        return file_sha256(self.path / COMPLETE)


def save(
    folder: Path,
    step: int,
    tensors: Iterable[tuple[str, Tensor]],
    state: Mapping[str, Any],
    ranks: Ranks,
    keep: int,
) -> Checkpoint:
    """Write a checkpoint; every rank calls this with the same tensors in the same order.

    Args:
        folder: of all checkpoints of the run.
        step: optimizer steps taken.
        tensors: the whole state, (name, full tensor).
        state: plain values to save beside it.
        ranks: this process among the others.
        keep: how many of the newest checkpoints stay.
    """
    rank, world_size = ranks.rank, ranks.world_size
    final = folder / f"{PREFIX}{step:08d}"
    beside = folder / f".{final.name}.writing"
    if rank == 0:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
    ranks.barrier()
    mine = {name: tensor.detach().cpu().contiguous() for i, (name, tensor) in enumerate(tensors) if i % world_size == rank}
    file = beside / f"rank-{rank:05d}-of-{world_size:05d}.safetensors"
    save_file(mine, file)
    _sync(file)
    ranks.barrier()
    if rank == 0:
        (beside / STATE).write_text(json.dumps({**state, "step": step}, indent=1) + "\n")
        _mark_complete(beside)
        shutil.rmtree(final, ignore_errors=True)
        beside.rename(final)
        _sync(folder)
        for old in _folders(folder)[keep:]:
            shutil.rmtree(old)
    ranks.barrier()
    return Checkpoint(final, step)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest complete checkpoint, and a sentence for each newer one that is damaged."""
    damaged: list[str] = []
    for path in _folders(folder):
        fault = _fault(path)
        if fault is None:
            return Checkpoint(path, int(path.name.removeprefix(PREFIX))), damaged
        damaged.append(f"checkpoint {path} is not used: {fault}")
    return None, damaged


def load_trained(model: nn.Module, folder: Path, data: str) -> Checkpoint:
    """Give a model the weights of the newest complete checkpoint in `folder`, the running mean where there is one.

    Args:
        model: gets the weights.
        folder: of all checkpoints of the run.
        data: digest of the shard set.

    Raises:
        UserError: there is no complete checkpoint, or it is of another model or shard set.
    """
    checkpoint, damaged = newest(folder)
    if checkpoint is None:
        reasons = "; ".join(damaged) or "nothing was saved"
        raise UserError(f"{folder} holds no complete checkpoint ({reasons}): train with `dsva train` first")
    checkpoint.refuse_other_data(data)
    tensors = checkpoint.by_kind()
    weights = tensors[MODEL] | tensors.get(EMA, {})
    fitting = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if fitting != {name: tensor.shape for name, tensor in weights.items()}:
        raise UserError(
            f"{checkpoint.path} is of another model than the configuration says: give the attribute table and model it had"
        )
    model.load_state_dict(weights)
    return checkpoint


def _folders(folder: Path) -> list[Path]:
    named = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(named, key=lambda path: int(path.name.removeprefix(PREFIX)), reverse=True)


def _mark_complete(path: Path) -> None:
    files = {file.name: {"size": file.stat().st_size, "sha256": file_sha256(file)} for file in sorted(path.iterdir())}
    text = json.dumps(files, indent=1)
    marker = path / COMPLETE
    marker.write_text(json.dumps({"files": files, "digest": hashlib.sha256(text.encode()).hexdigest()}, indent=1) + "\n")
    _sync(marker)
    _sync(path)


def _fault(path: Path) -> str | None:
    try:
        marker = json.loads((path / COMPLETE).read_text())
        files = marker["files"]
        if hashlib.sha256(json.dumps(files, indent=1).encode()).hexdigest() != marker["digest"]:
            return f"{COMPLETE} was changed"
        for name, facts in files.items():
            file = path / Path(name).name
            if not file.is_file() or file.stat().st_size != facts["size"] or file_sha256(file) != facts["sha256"]:
                return f"{name} is missing or damaged"
    except FileNotFoundError:
        return f"it has no {COMPLETE}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{COMPLETE} is damaged"
    return None


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
