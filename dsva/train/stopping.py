"""Stopping is normal: a signal sets a flag, the ranks agree on it, all leave at the same step boundary."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from shards.errors import UserError

if TYPE_CHECKING:  # who only asks for names needs no torch
    from dsva.processes.ranks import Ranks

# What a cluster sends before a job's time is up or its nodes are taken away: the job is to go on later.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
# A terminal that is closed sends SIGHUP.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *WARNINGS)
# Whoever starts a job says here how many seconds before its end it will be sent a signal.
SIGNAL_SECONDS = "DSVA_SIGNAL_SECONDS"
log = logging.getLogger(__name__)


class StoppedError(Exception):
    """A signal came during something that can be done again from its beginning.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def handle(handler: Callable[[int, FrameType | None], object]) -> dict[signal.Signals, Any]:
    """Have `handler` called for each of `SIGNALS`, but for SIGHUP under nohup; return the handlers before, for `restore`.

    Python lets the main thread alone do so: in another, signals are the business of the program that started it.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return {known: signal.signal(known, handler) for known in SIGNALS if not (nohup and known == signal.SIGHUP)}


def restore(before: Mapping[signal.Signals, Any]) -> None:
    """Put back the handlers that `handle` returned."""
    for number, handler in before.items():
        signal.signal(number, handler)


class StopSignal:
    """Remembers the first of `SIGNALS` instead of dying of it; a context manager.

    Attributes:
        received: number of the signal, 0 while there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = handle(self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        restore(self._before)

    def agree(self, ranks: "Ranks") -> None:
        """Ask all ranks, which call this together, whether one of them was told to stop.

        Raises:
            StoppedError: on all of them, if so.
        """
        if number := ranks.all_max(self.received):
            raise StoppedError(number)

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self.received == signal.SIGINT == number:
            # A person who presses Ctrl-C twice does not want to wait for the step.
            raise KeyboardInterrupt
        self.received = self.received or number


class SignalLeadTime:
    """The time between the signal and the end of a job, against what a step and a save take."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read the lead.

        Raises:
            UserError: it is no number.
        """
        given = environment.get(SIGNAL_SECONDS)
        try:
            self._seconds = float(given) if given else float("inf")
        except ValueError:
            self._seconds = float("nan")
        if not self._seconds >= 0:
            raise UserError(f"the environment variable {SIGNAL_SECONDS}={given!r} is no number of seconds: correct it, or unset it")

    def check(self, step: float, save: float) -> None:
        """Warn once if a step and a save, both in seconds, do not fit in."""
        if step + save <= self._seconds:
            return
        log.warning(
            f"a step takes {step:.1f} s and a save {save:.1f} s, but the job is told only "
            f"{self._seconds:.0f} s before its end: it may end before it has saved; ask for an earlier signal "
            f"(signal_seconds, or sbatch --signal=USR2@SECONDS) of more than {step + save:.0f} s"
        )
        self._seconds = float("inf")
