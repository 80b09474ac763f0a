"""Checkpoints: a folder of safetensors files that exists when it is COMPLETE.

The state is flat and layout-free (full tensors by name), and every rank writes its part of it, so any engine on any
number of ranks can read it back: nothing is converted, DeepSpeed's own shards are not used.
`saving` writes checkpoints, `contents` says what they tell of themselves; here they are found, checked and read.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from dsva.runs.checkpoint_format import BEST, COMPLETE, PREFIX, Complete, DamagedError, State, described, extras, stored
from shards.errors import UserError
from shards.files import file_sha256, printable

MODEL, OPTIMIZER, EMA = "model", "optimizer", "ema"  # what a tensor's name begins with
BACKBONE = "backbone."


class Header(NamedTuple):
    """What a file says of a tensor: its type as safetensors call it, and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk, of which every byte was as it had been written when it was opened.

    Attributes:
        path: its folder.
        state: the plain values saved beside the tensors.
        files: the names of those with tensors.
        headers: of all tensors, by KIND/NAME.
        sha256: of COMPLETE, which holds the hashes of all files: the identity of the checkpoint.
        extra: what else lies in its folder, and is not read.
    """

    path: Path
    state: State
    files: tuple[str, ...]
    headers: Mapping[str, Header]
    sha256: str
    extra: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the checkpoint in the folder `path`, whose name says its step.

        Raises:
            DamagedError: it is not as it was written, or holds what no checkpoint holds.
        """
        complete, state = described(path)
        try:
            _check_files(path, complete)
            headers = _headers(path, complete.tensors)
            counts = Counter(name.partition("/")[0] for name in headers)
            if unknown := counts.keys() - {MODEL, OPTIMIZER, EMA}:
                raise DamagedError(f"it holds tensors of the unknown kind {printable(min(unknown))!r}")
            if state.tensors is not None and +Counter(state.tensors) != counts:
                raise DamagedError(f"it holds {dict(counts)} tensors, not {dict(state.tensors)}")
            sha256, extra = file_sha256(path / COMPLETE), tuple(extras(path, complete))
        except OSError as error:
            raise DamagedError(f"it cannot be read ({error.strerror})") from None
        return cls(path, state, tuple(complete.tensors), headers, sha256, extra)

    @property
    def step(self) -> int:
        """Optimizer steps that were taken before it was written."""
        return self.state.step

    @property
    def notes(self) -> list[str]:
        """What a person should know of it: a sentence each."""
        said = [f"{self.path / name} is not of the checkpoint, and is not read: remove it" for name in self.extra]
        if self.state.config is None:
            said.append(f"{self.path} does not say of which run it is, only its inputs are compared: an older version wrote it")
        return said

    def tensors(self, kind: str, ending: str = "") -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor) of one kind (model, optimizer, ema), one after another, so that memory need not hold all.

        Args:
            kind: of the tensors.
            ending: of the names of those that are wanted.

        Raises:
            UserError: a file has changed since the checkpoint was opened.
        """
        for name in self.files:
            try:
                with safe_open(self.path / name, framework="pt") as opened:
                    for key in opened.keys():  # noqa: SIM118 (safe_open is no mapping)
                        if key.startswith(f"{kind}/") and key.endswith(ending):
                            yield key.removeprefix(f"{kind}/"), opened.get_tensor(key)
            except (OSError, SafetensorError) as error:
                why = printable(str(error))
                raise UserError(f"{self.path / name} changed while it was read ({why}): give the command again") from None

    def restore_weights(self, model: nn.Module, mean: bool) -> None:
        """Give a model that fits (see `belonging`) the saved weights, or with `mean` their running mean where there is one."""
        weights = dict(self.tensors(MODEL)) | (dict(self.tensors(EMA)) if mean else {})
        if self.state.left_out:
            weights |= {name: tensor for name, tensor in model.state_dict().items() if name.startswith(BACKBONE)}
        model.load_state_dict(weights)


Chosen = tuple[Checkpoint | None, list[str]]  # a checkpoint, and a sentence for each that should have come before it


def newest(folder: Path, among: Callable[[int], bool] = lambda step: True) -> Chosen:
    """Return the newest complete checkpoint of those steps that `among` admits, and a sentence for each newer damaged one."""
    return _first_whole(named.path for named in stored(folder) if among(named.step))


def best(folder: Path) -> Chosen:
    """Return the complete checkpoint with the highest score, the earliest of equals, and a sentence for each damaged better one.

    One that was just saved counts before it is set apart as the best.
    """
    ranked, unreadable = [], []
    for prefix in (BEST, PREFIX):
        for named in stored(folder, prefix):
            try:
                score = described(named.path)[1].score
            except DamagedError as error:
                unreadable += [_unused(named.path, error)] if prefix == BEST else []
            else:
                ranked += [] if score is None else [(-score, named.step, prefix, named.path)]
    found, damaged = _first_whole(path for *_, path in sorted(ranked))
    return found, unreadable + damaged


def with_sha256(folder: Path, sha256: str) -> Chosen:
    """Return the complete checkpoint of this identity, and a sentence for each damaged one that says to be it."""
    there = [named.path for prefix in (PREFIX, BEST) for named in stored(folder, prefix)]
    return _first_whole(path for path in there if (path / COMPLETE).is_file() and file_sha256(path / COMPLETE) == sha256)


def weights_sha256(model: nn.Module, prefix: str = "") -> str:
    """Return the hash of a model's weights, or of those whose names begin so: names and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name.startswith(prefix):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def backbone_sha256(model: nn.Module) -> str:
    """Return the hash of the backbone's weights."""
    return weights_sha256(model, BACKBONE)


def _first_whole(paths: Iterable[Path]) -> Chosen:
    damaged: list[str] = []
    for path in paths:
        try:
            return Checkpoint.open(path), damaged
        except DamagedError as error:
            damaged.append(_unused(path, error))
    return None, damaged


def _unused(path: Path, error: DamagedError) -> str:
    return f"checkpoint {path} is not used: {error}"


def _check_files(path: Path, complete: Complete) -> None:
    for name in complete.tensors:
        file, facts = path / name, complete.files[name]
        if not file.is_file() or file.stat().st_size != facts.size or file_sha256(file) != facts.sha256:
            raise DamagedError(f"{name} is missing or damaged")


def _headers(path: Path, names: Iterable[str]) -> dict[str, Header]:
    found: dict[str, Header] = {}
    for name in names:
        try:
            with safe_open(path / name, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118 (safe_open is no mapping)
                    if key in found:
                        raise DamagedError(f"{name} holds {printable(key)} a second time")
                    view = opened.get_slice(key)
                    found[key] = Header(view.get_dtype(), tuple(view.get_shape()))
        except SafetensorError as error:
            raise DamagedError(f"{name} is no safetensors file ({printable(str(error))})") from None
    return found
