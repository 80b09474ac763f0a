"""What a process is doing at the moment, and how long it took over each part of a step."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

# data: waiting for a batch; forward; backward up to this rank's last gradient; exchange: from there until the gradients of all
# ranks are there, waiting for slower ones included (what overlaps with the backward pass counts as that); update: clipping and
# the optimizer, under ZeRO with the exchange that is part of it.
PHASES = ("data", "forward", "backward", "exchange", "update")


class Phases:
    """The phase that a process is in, and times of the steps in which it measures.

    Attributes:
        now: the phase.
        since: when the process was last seen to get on, on the monotonic clock.
    """

    def __init__(self, device: torch.device) -> None:
        self.now, self.since = "start", time.monotonic()
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, float | torch.cuda.Event]] = []
        self._measuring = False
        self._last_gradient: float | torch.cuda.Event | None = None

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        if self._measuring:
            self._marks.append((phase, self._moment()))
        self.now, self.since = phase, time.monotonic()

    def tick(self) -> None:
        """Get on within a phase."""
        self.since = time.monotonic()

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Be in a phase for the time of the context, then in the one before."""
        before = self.now
        self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)

    def measure(self, begin: bool) -> None:
        """Begin a step, and measure it if `begin` is set."""
        self._measuring = begin
        self._marks.clear()

    @contextmanager
    def last_gradient(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Part the backward pass inside from the exchange after it, where this step is measured."""
        if not self._measuring:
            yield
            return
        handles = [p.register_post_accumulate_grad_hook(self._note_gradient) for p in parameters]  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        if self._last_gradient is not None:
            self._marks.append(("exchange", self._last_gradient))
        self._last_gradient = None

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each phase of the step that was measured; empty where none was. Waits for the device."""
        if not self._marks:
            return {}
        marks = [*self._marks, ("end", self._moment())]
        if self._on_gpu:
            torch.cuda.synchronize()
        spent = dict.fromkeys(PHASES, 0.0)
        for (phase, begin), (_, end) in pairwise(marks):
            if phase in spent:
                spent[phase] += _between(begin, end)
        self._marks.clear()
        return spent

    def _note_gradient(self, _: Tensor) -> None:
        self._last_gradient = self._moment()

    def _moment(self) -> "float | torch.cuda.Event":
        # Events lie in the device's own order of work and cost it no wait; on a CPU the clock tells the same.
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def _between(begin: "float | torch.cuda.Event", end: "float | torch.cuda.Event") -> float:
    if isinstance(begin, float) and isinstance(end, float):
        return end - begin
    assert not isinstance(begin, float)
    assert not isinstance(end, float)
    return float(begin.elapsed_time(end)) / 1e3
