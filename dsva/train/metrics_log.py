"""What a run writes while it trains: metrics.jsonl, TensorBoard, a progress bar. Rank 0 only."""

import json
import logging
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsva.files import Growing, NoRoomError, as_object, write_atomically
from dsva.run_directory import METRICS, TENSORBOARD
from dsva.train.tensorboard_file import Board
from shards.progress import new_bar

log = logging.getLogger(__name__)


class Metrics:
    """Lines of metrics by step; a restarted run goes on where its checkpoint left off, in one continuous curve.

    What finds no room is a warning: it is written as soon as there is room again.
    """

    def __init__(self, folder: Path, start: int, steps: int) -> None:
        self._lines, self._board = Growing(folder / METRICS), Board(folder / TENSORBOARD, start)
        self._bar = new_bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        if self._bar:
            self._task = self._bar.add_task("training", total=steps, completed=start, note="")
            self._bar.start()

    @classmethod
    @contextmanager
    def on_rank(cls, rank: int, folder: Path, start: int, steps: int) -> Iterator[Callable[[int, Mapping[str, Any]], None]]:
        """Give the function that logs: on rank 0 that of a `Metrics`, elsewhere one that does nothing."""
        if rank:
            yield lambda step, values: None
            return
        metrics = cls(folder, start, steps)
        try:
            yield metrics.log
        finally:
            metrics.close()

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Write one line for the state after `step` optimizer steps; numbers also go to TensorBoard."""
        line = json.dumps({"step": step, **values}) + "\n"
        self._keep(self._lines, lambda: self._lines.add(line.encode()))
        figures = {name: value for name, value in values.items() if isinstance(value, int | float)}
        self._keep(self._board, lambda: self._board.show(step, figures))
        note = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if name in ("loss/total", "images_per_second"))
        if self._bar:
            self._bar.update(self._task, completed=step, note=note)
        else:
            log.info("step %d  %s", step, note)

    def close(self) -> None:
        """Flush and close everything."""
        if self._bar:
            self._bar.stop()
        for file in (self._lines, self._board):
            self._keep(file, partial(file.add, b""), "what is owed is lost")
            self._keep(file, file.close, "the last of it may be lost")

    def _keep(self, file: Growing, write: Callable[[], object], so: str = "") -> None:
        """Write to a file; say once that there is no room, and each time what is lost by it."""
        told = file.short
        try:
            write()
        except NoRoomError as error:
            if so or not told:
                then = so or "training goes on, and it is written when there is room again"
                log.warning("%s: %s; make room on the disk", error.reason, then)


class Stopwatch:
    """Where the time goes between two lines of metrics."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._waited = 0.0
        self._images = 0

    def waited(self, seconds: float, images: int) -> None:
        """Count a batch of `images` that was waited for."""
        self._waited += seconds
        self._images += images

    def read(self, world_size: int, device: torch.device) -> dict[str, float]:
        """Return the seconds since the last time, images/s of all ranks, the share of time spent waiting for data and the
        memory in MiB, and start anew.
        """
        seconds = time.perf_counter() - self._start
        on_gpu = device.type == "cuda"
        memory = (
            torch.cuda.max_memory_allocated(device) / 2**20
            if on_gpu
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        )
        values = {
            "interval_seconds": seconds,
            "images_per_second": self._images * world_size / seconds,
            "data_wait_share": self._waited / seconds,
            "memory_mib": memory,
        }
        self.__init__()  # type: ignore[misc]
        return values


def cut(path: Path, step: int) -> None:
    """Leave only the lines of steps up to `step` in the file: those after it will be computed and logged again.

    What a kill has left of a line goes too.

    Raises:
        NoRoomError: there is none for what is left.
    """
    text = path.read_text(errors="replace") if path.is_file() else ""
    lines = []
    for line in text.split("\n")[:-1]:
        with suppress(TypeError, KeyError):
            if as_object(line)["step"] <= step:
                lines.append(f"{line}\n")
    if (kept := "".join(lines)) != text:
        write_atomically(path, kept)
