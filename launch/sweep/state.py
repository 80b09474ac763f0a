"""What has become of each cell: our own notes first, then Slurm's queue, then its accounts."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from launch.jobs.folder import JobFolder, now
from launch.jobs.lease import STOPPED
from launch.slurm.client import HELD, accounted, queued
from launch.sweep.plan import Cell, Manifest

Name = Literal["COMPLETE", "RUNNING", "PENDING", "FAILED", "NEW"]
ENDINGS = {
    "TIMEOUT": "reached its time limit",
    "CANCELLED": "was cancelled",
    "OUT_OF_MEMORY": "ran out of memory",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "was preempted and not queued again",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "missed its deadline",
}
# Ends that nobody asked for and that leave a run no time for a word, should its node be away.
SILENT = {"TIMEOUT", "FAILED", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED"}
LAG = 120.0  # seconds that Slurm's accounts may be behind its queue
READERS = 16  # a network file system takes its time for each of many small files
ROOM = 1 << 20  # bytes, below which a file system is called full
SCORE = "validation/score"


@dataclass(frozen=True)
class State:
    """Where a cell stands.

    Attributes:
        cell: which.
        name: COMPLETE, RUNNING, PENDING (queued, for the first time or again), FAILED, or NEW (never started).
        reason: why it failed or waits, in words.
        step: optimizer steps in its newest line of metrics.
        speed: images/s there.
        score: the newest, in percent: GZSL's H or ZSL of a complete run, else the mean on the validation classes, if any.
        restarts: how often it was taken up again.
        node: where it runs or ran last.
        log: file with rank 0's output.
        silent: it failed because Slurm ended its job before it could say a word, and nobody wanted that.
    """

    cell: Cell
    name: Name
    reason: str
    step: int
    speed: float
    score: str
    restarts: int
    node: str
    log: str
    silent: bool = False

    @property
    def seconds_left(self) -> float | None:
        """Estimate of what is left, from the newest images/s."""
        return (self.cell.steps - self.step) * self.cell.batch_size / self.speed if self.speed and self.name == "RUNNING" else None


def folder_of(sweep: Path, cell: Cell) -> JobFolder:
    """Return the job folder of a cell."""
    return JobFolder(sweep.absolute() / "cells" / cell.name)


def job_of(sweep: Path, cell: Cell) -> str:
    """Return the number of a cell's job; empty where it has none."""
    return str((folder_of(sweep, cell).read("submitted.json") or {}).get("job", ""))


@dataclass(frozen=True)
class _Notes:
    """What a cell's folder says, each file read once."""

    folder: JobFolder
    done: Mapping[str, Any] | None
    failed: Mapping[str, Any] | None
    beat: Mapping[str, Any] | None
    submitted: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @classmethod
    def read(cls, folder: JobFolder) -> Self:
        beat = folder.read("heartbeat.json")
        metrics = folder.metrics() if beat else {}
        return cls(folder, folder.done(), folder.failed(), beat, folder.read("submitted.json") or {}, metrics)

    @property
    def job(self) -> str:
        return str(self.submitted.get("job", ""))


def states(sweep: Path, manifest: Manifest) -> list[State]:
    """Look at every cell, and ask Slurm twice at most."""
    with ThreadPoolExecutor(READERS) as readers:
        notes = list(readers.map(_Notes.read, [folder_of(sweep, cell) for cell in manifest.cells]))
    queue = queued() if any(note.job for note in notes) else {}
    accounts = accounted({note.job for note in notes if note.job and note.job not in queue and not (note.done or note.failed)})
    return [_state(cell, note, manifest, queue, accounts) for cell, note in zip(manifest.cells, notes, strict=True)]


def _state(cell: Cell, notes: _Notes, manifest: Manifest, queue: Mapping[str, Sequence[str]], accounts: Mapping[str, str]) -> State:
    name, reason = _judge(notes, queue, accounts)
    beat, values = notes.beat or {}, notes.metrics
    return State(
        cell,
        name,
        reason,
        int(values.get("step", 0)),
        float(values.get("images_per_second", 0)),
        _score(notes, manifest.sweep.head),
        max(0, int(beat.get("generation", 1)) - 1),
        str(beat.get("host", "")),
        str(notes.submitted.get("log", "")),
        silent=name == "FAILED" and not notes.failed and _ending(notes, accounts) in SILENT,
    )


def _score(notes: _Notes, head: str) -> str:
    if notes.done and head in notes.done.get("scores", {}):
        zsl, harmonic = notes.done["scores"][head]
        return f"ZSL {100 * zsl:.1f}" if harmonic is None else f"H {100 * harmonic:.1f}"
    return f"val {100 * notes.metrics[SCORE]:.1f}" if SCORE in notes.metrics else ""


def _judge(notes: _Notes, queue: Mapping[str, Sequence[str]], accounts: Mapping[str, str]) -> tuple[Name, str]:
    if notes.done:
        return "COMPLETE", ""
    if notes.job in queue:
        state, why = queue[notes.job]
        if state in ("RUNNING", "COMPLETING", "SUSPENDED"):
            return "RUNNING", ""
        return (
            "PENDING",
            "held since a node refused it: the next cell that completes, or `dsva sweep retry`, lets it go" if why == HELD else why,
        )
    beat = notes.beat
    if not notes.job and beat and beat["state"] == "running" and _age(beat["time"]) < 2 * STOPPED:
        return "RUNNING", ""
    return _ended(notes, accounts)


def _ended(notes: _Notes, accounts: Mapping[str, str]) -> tuple[Name, str]:
    """Judge a cell that is neither complete nor known to be at work."""
    if notes.failed:
        return "FAILED", str(notes.failed["reason"])
    if not notes.job:
        return ("FAILED", f"died without a word after {notes.beat['time']}{_full(notes)}") if notes.beat else ("NEW", "")
    ending = _ending(notes, accounts)
    if ending in ("RUNNING", "PENDING", "REQUEUED"):
        newest = min(_age(note["time"]) for note in (notes.submitted, notes.beat) if note)
        if newest < LAG:
            return "PENDING", ""
        return "FAILED", f"Slurm's controller has lost its job; its checkpoint is of step {notes.folder.step()}"
    words = ENDINGS.get(ending, f"ended as {ending} in the accounts of Slurm")
    return "FAILED", f"{words}{_full(notes)}; its checkpoint is of step {notes.folder.step()}"


def _ending(notes: _Notes, accounts: Mapping[str, str]) -> str:
    """Return how Slurm's accounts call the end of a cell's job: the first word, since CANCELLED is followed by the user."""
    return accounts.get(notes.job, "UNKNOWN").split()[0]


def _full(notes: _Notes) -> str:
    """Say that there is no room, where that may be why a run could not even note why it ended."""
    return f"; the file system of {notes.folder.run} is full" if shutil.disk_usage(notes.folder.run).free < ROOM else ""


def _age(time: str) -> float:
    return (datetime.fromisoformat(now()) - datetime.fromisoformat(time)).total_seconds()
