"""A run that gets no further says where it stands and ends, so that whoever started it can start it again.

A thread of each process looks whether the process gets on. Where one does not, all write what they are doing, since the rank that
hangs is seldom the one that was waited for first.
"""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dsva.exit_codes import HUNG
from dsva.run_directory import HANGS

LOOKS = 20  # within the time that is allowed
log = logging.getLogger(__name__)


class Watchdog:
    """Ends this process where it gets no further; a context manager.

    The file that it writes, START-rank-NNNNN.txt, says in its first line what the process was doing, then holds the Python
    stacks of all its threads.
    """

    def __init__(self, folder: Path, start: str, rank: int, limit: float, seen: Callable[[], tuple[str, float]]) -> None:
        """Watch a process; nothing is written as long as it gets on.

        Args:
            folder: of the run.
            start: the same for all ranks of a start of the run, and no other's.
            rank: of this process.
            limit: seconds that it may take to get on.
            seen: what it is doing, and when it last got on (monotonic clock).
        """
        self._folder, self._start, self._rank, self._limit, self._seen = folder / HANGS, start, rank, limit, seen
        self._file = self._folder / f"{start}-rank-{rank:05d}.txt"
        self._ended = threading.Event()
        self._pause = min(limit / LOOKS, 5.0)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @classmethod
    @contextmanager
    def over(cls, folder: Path, start: str, rank: int, limit: float, seen: Callable[[], tuple[str, float]]) -> Iterator[None]:
        """Watch for the time of the context; `limit` 0 does not."""
        if not limit:
            yield
            return
        dog = cls(folder, start, rank, limit, seen)
        dog._arm()  # here: the interpreter may be kept from the thread before it has looked once
        dog._thread.start()
        try:
            yield
        finally:
            dog._ended.set()
            dog._thread.join()
            faulthandler.cancel_dump_traceback_later()

    def _arm(self) -> None:
        """Let C code end the process, should a thread keep the interpreter to itself, so that the watchdog cannot look any more."""
        faulthandler.dump_traceback_later(2 * self._limit, exit=True, file=2)  # the descriptor: sys.stderr may be replaced

    def _watch(self) -> None:
        while not self._ended.wait(self._pause):
            self._arm()
            phase, since = self._seen()
            quiet = time.monotonic() - since
            if quiet > self._limit or self._another_hangs():
                self._end(phase, quiet)

    def _another_hangs(self) -> bool:
        try:
            return any(name.startswith(self._start) for name in os.listdir(self._folder))  # noqa: PTH208 (no Path for each)
        except OSError:
            return False

    def _end(self, phase: str, quiet: float) -> None:
        what = f"rank {self._rank} (process {os.getpid()}) in phase {phase}, without progress for {quiet:.0f} s"
        try:
            self._folder.mkdir(exist_ok=True)
            with self._file.open("w") as file:
                file.write(f"{what}\n")
                file.flush()
                faulthandler.dump_traceback(file)
        except OSError as error:
            faulthandler.dump_traceback(sys.stderr)
            what = f"{what}; {self._file} cannot be written ({error})"
        log.error("the run hangs: %s; stacks of all ranks are in %s", what, self._folder)
        # Whoever started the processes may kill the others as soon as one ends: they shall have seen this first.
        time.sleep(3 * self._pause)
        os._exit(HUNG)
