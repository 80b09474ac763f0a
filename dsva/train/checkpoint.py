"""Checkpoints: a folder of safetensors files that exists when it is COMPLETE.

The state is flat and layout-free (full tensors by name), and every rank writes its part of it, so any engine on any
number of ranks can read it back: nothing is converted, DeepSpeed's own shards are not used.
`saving` writes checkpoints; here they are found, checked and read.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from shards.errors import UserError
from shards.files import file_sha256

COMPLETE, STATE = "COMPLETE", "state.json"
PREFIX, BEST = "step-", "best-"
MODEL, OPTIMIZER, EMA = "model", "optimizer", "ema"  # what a tensor's name begins with
BACKBONE = "backbone."


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

    def tensors(self, kind: str) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor) of one kind (model, optimizer, ema), one after another, so that memory need not hold all."""
        for file in sorted(self.path.glob("*.safetensors")):
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118 (safe_open is no mapping)
                    if key.startswith(f"{kind}/"):
                        yield key.removeprefix(f"{kind}/"), opened.get_tensor(key)

    def refuse_other(self, hashes: Mapping[str, str]) -> None:
        """Raise a UserError unless the checkpoint was trained on inputs with these hashes, by their configuration keys."""
        trained = self.state()["inputs"]
        for key, now in hashes.items():
            if trained[key] != now:
                raise UserError(
                    f"{self.path} was trained with {key} of digest {trained[key][:12]}, its content now has {now[:12]}: "
                    "give what the run began with, or another run.dir"
                )

    def restore_weights(self, model: nn.Module, mean: bool) -> None:
        """Give a model the saved weights, or their running mean where there is one and `mean` is set.

        Raises:
            UserError: the checkpoint is of another model, or the frozen backbone that it left out has changed.
        """
        weights = dict(self.tensors(MODEL)) | (dict(self.tensors(EMA)) if mean else {})
        if left_out := self.state()["left_out"]:
            if left_out["sha256"] != backbone_sha256(model):
                raise UserError(
                    f"{self.path} was trained on the frozen backbone {left_out['backbone']}, which now holds other weights: "
                    "set model.backbone to a copy of what it was"
                )
            weights |= {name: tensor for name, tensor in model.state_dict().items() if name.startswith(BACKBONE)}
        if {name: tensor.shape for name, tensor in model.state_dict().items()} != {n: t.shape for n, t in weights.items()}:
            raise UserError(
                f"{self.path} is of another model than the configuration says: give the attribute table and model it had"
            )
        model.load_state_dict(weights)

    def sha256(self) -> str:
        """Return the hash of the COMPLETE marker, which holds the hashes of all files: the identity of the weights."""
        return file_sha256(self.path / COMPLETE)


def newest(
    folder: Path, prefix: str = PREFIX, among: Callable[[int], bool] = lambda step: True
) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest complete checkpoint of those steps that `among` admits, and a sentence for each newer damaged one."""
    damaged: list[str] = []
    for checkpoint in stored(folder, prefix):
        if not among(checkpoint.step):
            continue
        reason = fault(checkpoint.path)
        if reason is None:
            return checkpoint, damaged
        damaged.append(f"checkpoint {checkpoint.path} is not used: {reason}")
    return None, damaged


def stored(folder: Path, prefix: str = PREFIX) -> list[Checkpoint]:
    """Return the checkpoints in a folder by their names, the newest first, complete or not."""
    named = [path for path in folder.glob(f"{prefix}*") if path.name.removeprefix(prefix).isdigit()]
    found = [Checkpoint(path, int(path.name.removeprefix(prefix))) for path in named]
    return sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True)


def load_trained(model: nn.Module, folder: Path, hashes: Mapping[str, str], prefix: str = PREFIX) -> Checkpoint:
    """Give a model the weights of the newest complete checkpoint in `folder`, the running mean where there is one.

    Args:
        model: gets the weights.
        folder: of all checkpoints of the run.
        hashes: of the inputs, as `refuse_other` takes them.
        prefix: of the names of the checkpoints to look at.

    Raises:
        UserError: there is no complete checkpoint, or it is of another model or of other inputs.
    """
    checkpoint, damaged = newest(folder, prefix)
    if checkpoint is None:
        reasons = "; ".join(damaged) or "nothing was saved"
        raise UserError(f"{folder} holds no complete checkpoint {prefix}* ({reasons}): train with `dsva train` first")
    checkpoint.refuse_other(hashes)
    checkpoint.restore_weights(model, mean=True)
    return checkpoint


def backbone_sha256(model: nn.Module) -> str:
    """Return the hash of the backbone's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name.startswith(BACKBONE):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def marker(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of COMPLETE for files with their size and sha256."""
    digest = hashlib.sha256(json.dumps(files, indent=1).encode()).hexdigest()
    return json.dumps({"files": files, "digest": digest}, indent=1) + "\n"


def fault(path: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, or None where every byte is as it was written."""
    try:
        text = (path / COMPLETE).read_text()
        files = json.loads(text)["files"]
        if marker(files) != text:
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
