"""Writing checkpoints, all ranks together, in the background if wanted, on disks that can be full.

A checkpoint is written beside its place, described last by COMPLETE (sizes and hashes of all files), and put there in one
step; a crash at any moment leaves either a whole checkpoint or a folder that is not looked at. The best one follows from
the scores in those that lie there, so a crash before it is set apart costs nothing either.
"""

import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from dsva.config import RunConfig
from dsva.files import on_full_disk
from dsva.processes.ranks import Ranks
from dsva.run_directory import CHECKPOINTS
from dsva.runs.checkpoint_format import COMPLETE, PREFIX, STATE, Complete, FileFacts, State, folder_name, rank_file
from dsva.runs.folders import begin, beside, publish, remove
from dsva.runs.progress import note_saved
from dsva.runs.retention import Keeper
from shards.files import sync

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64", torch.bool: "BOOL"}
Facts = dict[str, Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pending:
    """A checkpoint that is being written: where it goes, facts of this rank's file, what goes beside it, and the last step that
    the run could go back to.
    """

    final: Path
    file: Future[Facts]
    state: State
    sound: int


class Saver:
    """Saves a run's checkpoints and keeps those that are to be kept; every rank has one and calls it alike.

    Attributes:
        seconds: that the last checkpoint took from its beginning until it was whole.
    """

    def __init__(self, run: Path, ranks: Ranks, config: RunConfig) -> None:
        self._run, self._folder = run, run / CHECKPOINTS
        self._ranks, self._config = ranks, config
        self._thread = ThreadPoolExecutor(1, "checkpoint") if config.async_save else None
        self._pending: _Pending | None = None
        self.seconds = 0.0
        self._begun = 0.0
        self._keeper = Keeper(self._folder, config)
        # The best score, and the step that had it.
        self._best: tuple[float, int] = ranks.broadcast(self._keeper.best_there() if ranks.rank == 0 else None)

    def improves(self, score: float) -> bool:
        """Tell whether a validation score is better than all before it."""
        return score > self._best[0]

    def save(self, state: State, tensors: Iterable[tuple[str, Tensor]], sound: int | None = None) -> bool:
        """Write a checkpoint; every rank calls this with the same tensors in the same order.

        Args:
            state: what to save beside the tensors; they are counted here.
            tensors: the whole state of the training, (KIND/NAME, full tensor).
            sound: the last step before any that went wrong; the step itself if none is given.

        Returns:
            Whether it is on disk, or being written to it; a full disk is a warning, and what was there before stays.
        """
        self.settle()
        self._begun = time.monotonic()
        final = self._folder / folder_name(PREFIX, state.step)
        failure = on_full_disk(lambda: begin(final)) if self._ranks.rank == 0 else None
        if failure := self._ranks.broadcast(failure):
            return self._give_up(final, failure)
        file = beside(final) / rank_file(self._ranks.rank, self._ranks.world_size)
        mine, counts = self._part(tensors)
        future: Future[Facts] = Future()
        if self._thread:
            future = self._thread.submit(write_safetensors, file, mine)
        else:
            _run(future, lambda: write_safetensors(file, mine))
        counted = state.model_copy(update={"tensors": dict(counts)})
        self._pending = _Pending(final, future, counted, state.step if sound is None else sound)
        return True if self._thread else self.settle()

    def settle(self, wait: bool = True) -> bool:
        """Finish what is being written, if all ranks are ready for it or `wait` is set; every rank calls this.

        Returns:
            False if a checkpoint was given up.
        """
        if (pending := self._pending) is None:
            return True
        if not wait and self._ranks.all_max(not pending.file.done()):
            return True
        self._pending = None
        self.seconds = time.monotonic() - self._begun
        failure = on_full_disk(pending.file.result)
        gathered = self._ranks.all_gather((failure, None if failure else pending.file.result()))
        failure = next((failure for failure, _ in gathered if failure), None)
        if not failure and self._ranks.rank == 0:
            failure = on_full_disk(lambda: _publish(pending, {facts["name"]: facts for _, facts in gathered}))
        if failure := self._ranks.broadcast(failure):
            return self._give_up(pending.final, failure)
        score, step = pending.state.score, pending.state.step
        if score is not None and self.improves(score):
            self._best = (score, step)
        if self._ranks.rank == 0:
            log.debug("%s is whole after %.2f s", pending.final, self.seconds)
            note_saved(self._run, step)
            self._keeper.keep(self._best, step, pending.sound)
        return True

    def _part(self, tensors: Iterable[tuple[str, Tensor]]) -> tuple[dict[str, Tensor], Counter[str]]:
        """Keep this rank's part of the tensors, about as many bytes as the other ranks, and count all of them by kind.

        The others may be dropped at once.
        """
        mine, loads, counts = {}, [0] * self._ranks.world_size, Counter[str]()
        for name, tensor in tensors:
            owner = loads.index(min(loads))
            loads[owner] += tensor.nbytes
            counts[name.partition("/")[0]] += 1
            if owner == self._ranks.rank:
                # What is written in the background must not change under the writer.
                mine[name] = tensor.detach().to("cpu", copy=self._thread is not None).contiguous()
        return mine, counts

    def _give_up(self, final: Path, failure: str) -> bool:
        if self._ranks.rank == 0:
            remove(beside(final))
            log.warning(
                f"checkpoint {final} could not be written ({failure}): training goes on, the checkpoints before it are kept, "
                "the next one is tried in its turn; make room on the disk"
            )
        return False


def _publish(pending: _Pending, facts: Mapping[str, Facts]) -> None:
    new, text = beside(pending.final), (pending.state.model_dump_json(indent=1) + "\n").encode()
    files = {name: FileFacts(size=fact["size"], sha256=fact["sha256"]) for name, fact in sorted(facts.items())}
    files[STATE] = FileFacts(size=len(text), sha256=hashlib.sha256(text).hexdigest())
    _write(new / STATE, text)
    _write(new / COMPLETE, Complete.of(files).text().encode())
    sync(new)
    publish(pending.final)


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


def _run(future: Future[Facts], work: Callable[[], Facts]) -> None:
    try:
        future.set_result(work())
    except OSError as error:
        future.set_exception(error)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
