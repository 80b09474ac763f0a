"""Stopping is normal: a signal sets a flag, the ranks agree on it, all leave at the same step boundary."""

import signal
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class StopSignal:
    """Remembers the first of SIGTERM, SIGINT and SIGUSR2 instead of dying of it; a context manager.

    Attributes:
        received: number of the signal, 0 while there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self.received == signal.SIGINT == number:
            # A person who presses Ctrl-C twice does not want to wait for the step.
            raise KeyboardInterrupt
        self.received = self.received or number
