"""Writing checkpoints, all ranks together, in the background if wanted, on disks that can be full.

A checkpoint is written beside its place, described last by COMPLETE (sizes and hashes of all files), and renamed; a
crash at any moment leaves either a whole checkpoint or a folder that is not looked at.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from rich.console import Console
from rich.markup import escape
from torch import Tensor

from dsva.config import RunConfig
from dsva.files import FULL
from dsva.ranks import Ranks
from dsva.train.checkpoint import BEST, COMPLETE, PREFIX, STATE, marker, newest, stored

WRITING = ".writing"
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64", torch.bool: "BOOL"}
Facts = dict[str, Any]


@dataclass(frozen=True)
class _Pending:
    """A checkpoint that is being written: where it goes, its step, facts of this rank's file, what goes beside it, and the
    last step that the run could go back to.
    """

    final: Path
    step: int
    file: Future[Facts]
    state: Mapping[str, Any]
    sound: int


class Saver:
    """Saves a run's checkpoints and keeps those that are to be kept; every rank has one and calls it alike.

    Attributes:
        seconds: that the last checkpoint took from its beginning until it was whole.
    """

    def __init__(self, folder: Path, ranks: Ranks, config: RunConfig, console: Console) -> None:
        self._folder, self._ranks, self._config, self._console = folder, ranks, config, console
        self._thread = ThreadPoolExecutor(1, "checkpoint") if config.async_save else None
        self._pending: _Pending | None = None
        self.seconds = 0.0
        self._begun = 0.0
        best = newest(folder, BEST)[0] if ranks.rank == 0 else None
        self._best: float = ranks.first(best.state()["score"] if best else float("-inf"))
        if ranks.rank == 0:
            for left in folder.glob(f".*{WRITING}"):
                shutil.rmtree(left)

    def improves(self, score: float) -> bool:
        """Tell whether a validation score is better than all before it."""
        return score > self._best

    def save(
        self,
        step: int,
        tensors: Iterable[tuple[str, Tensor]],
        state: Mapping[str, Any],
        score: float | None = None,
        sound: int | None = None,
    ) -> bool:
        """Write a checkpoint; every rank calls this with the same tensors in the same order.

        Args:
            step: optimizer steps taken.
            tensors: the whole state, (name, full tensor).
            state: plain values to save beside it.
            score: on the validation classes, where they were looked at.
            sound: the last step before any that went wrong; `step` itself if none is given.

        Returns:
            Whether it is on disk, or being written to it; a full disk is a warning, and what was there before stays.
        """
        self.settle()
        self._begun = time.monotonic()
        final = self._folder / f"{PREFIX}{step:08d}"
        beside = self._beside(final)
        failure = _on_full_disk(lambda: _begin(beside)) if self._ranks.rank == 0 else None
        if failure := self._ranks.first(failure):
            return self._give_up(final, failure)
        name = f"rank-{self._ranks.rank:05d}-of-{self._ranks.world_size:05d}.safetensors"
        mine = self._part(tensors)
        future: Future[Facts] = Future()
        if self._thread:
            future = self._thread.submit(write_safetensors, beside / name, mine)
        else:
            _run(future, lambda: write_safetensors(beside / name, mine))
        self._pending = _Pending(final, step, future, {**state, "step": step, "score": score}, step if sound is None else sound)
        return True if self._thread else self.settle()

    def settle(self, wait: bool = True) -> bool:
        """Finish what is being written, if all ranks are ready for it or `wait` is set; every rank calls this.

        Returns:
            False if a checkpoint was given up.
        """
        if (pending := self._pending) is None:
            return True
        if not wait and self._ranks.anyone(not pending.file.done()):
            return True
        self._pending = None
        self.seconds = time.monotonic() - self._begun
        failure = _on_full_disk(pending.file.result)
        everyones = self._ranks.everyones((failure, None if failure else pending.file.result()))
        failure = next((failure for failure, _ in everyones if failure), None)
        if not failure and self._ranks.rank == 0:
            failure = _on_full_disk(lambda: self._publish(pending, {facts["name"]: facts for _, facts in everyones}))
        if failure := self._ranks.first(failure):
            return self._give_up(pending.final, failure)
        if pending.state["score"] is not None:
            self._best = max(self._best, pending.state["score"])
        return True

    def _part(self, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Keep this rank's part of the tensors, about as many bytes as the other ranks; the others may be dropped at once."""
        mine, loads = {}, [0] * self._ranks.world_size
        for name, tensor in tensors:
            owner = loads.index(min(loads))
            loads[owner] += tensor.nbytes
            if owner == self._ranks.rank:
                # What is written in the background must not change under the writer.
                mine[name] = tensor.detach().to("cpu", copy=self._thread is not None).contiguous()
        return mine

    def _publish(self, pending: _Pending, facts: Mapping[str, Facts]) -> None:
        beside, final = self._beside(pending.final), pending.final
        text = (json.dumps(pending.state, indent=1) + "\n").encode()
        files = {name: {"size": fact["size"], "sha256": fact["sha256"]} for name, fact in sorted(facts.items())}
        files[STATE] = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        _write(beside / STATE, text)
        _write(beside / COMPLETE, marker(files).encode())
        _sync(beside)
        shutil.rmtree(final, ignore_errors=True)
        beside.rename(final)
        _sync(self._folder)
        score = pending.state["score"]
        if score is not None and self.improves(score):
            self._link_best(pending)
        self._retire(pending.sound)

    def _link_best(self, pending: _Pending) -> None:
        best = self._folder / f"{BEST}{pending.step:08d}"
        beside = self._beside(best)
        beside.mkdir()
        for file in pending.final.iterdir():
            os.link(file, beside / file.name)
        shutil.rmtree(best, ignore_errors=True)
        beside.rename(best)
        for old in stored(self._folder, BEST):
            if old.path != best:
                shutil.rmtree(old.path)

    def _retire(self, sound: int) -> None:
        keep, keep_every, every = self._config.keep, self._config.keep_every, self._config.checkpoint_every
        there = stored(self._folder)
        # The newest that the run would go back to after bad steps is kept besides.
        target = next((old for old in there if old.step <= sound and old.step % every == 0), None)
        for old in there[keep:]:
            if old != target and not (keep_every and old.step % keep_every == 0):
                shutil.rmtree(old.path)

    def _give_up(self, final: Path, failure: str) -> bool:
        if self._ranks.rank == 0:
            shutil.rmtree(self._beside(final), ignore_errors=True)
            told = (
                f"checkpoint {final} could not be written ({failure}): training goes on, the checkpoints before it are kept, "
                "the next one is tried in its turn; make room on the disk"
            )
            self._console.print(f"[bold red]warning:[/] {escape(told)}")
        return False

    @staticmethod
    def _beside(final: Path) -> Path:
        return final.with_name(f".{final.name}{WRITING}")


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> Facts:
    """Write CPU tensors as a safetensors file and return its name, size and sha256, hashed on the way to the disk.

    The format (an 8-byte length, a JSON header, the bytes) is written here because the safetensors package neither
    hashes nor tells a full disk from other faults.
    """
    header, place = {}, 0
    for name, tensor in tensors.items():
        shape, end = list(tensor.shape), place + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (len(text).to_bytes(8, "little"), text):
            _append(file, piece, digest)
        for tensor in tensors.values():
            _append(file, tensor.reshape(-1).view(torch.uint8).numpy().data, digest)
        file.flush()
        os.fsync(file.fileno())
        return {"name": path.name, "size": file.tell(), "sha256": digest.hexdigest()}


def _append(file: BinaryIO, piece: "bytes | memoryview", digest: "hashlib._Hash") -> None:
    digest.update(piece)
    file.write(piece)


def _begin(beside: Path) -> None:
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)


def _run(future: Future[Facts], work: Callable[[], Facts]) -> None:
    try:
        future.set_result(work())
    except OSError as error:
        future.set_exception(error)


def _on_full_disk(work: Callable[[], object]) -> str | None:
    """Do something; return why it failed if the disk is full, raise whatever else goes wrong."""
    try:
        work()
    except OSError as error:
        if error.errno in FULL:
            return str(error.strerror)
        raise
    return None


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
