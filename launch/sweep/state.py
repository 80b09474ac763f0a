"""What has become of each cell: our own notes first, then Slurm's queue, then its accounts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from launch.claim import STOPPED
from launch.folder import JobFolder, now
from launch.queue import ask, queued
from launch.sweep.plan import Cell, Manifest
from shards.errors import UserError

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


@dataclass(frozen=True)
class State:
    """Where a cell stands.

    Attributes:
        cell: which.
        name: COMPLETE, RUNNING, PENDING (queued, for the first time or again), FAILED, or NEW (never started).
        reason: why it failed or waits, in words.
        step: optimizer steps in its newest line of metrics.
        speed: images/s there.
        loss: there.
        restarts: how often it was taken up again.
        node: where it runs or ran last.
        log: file with rank 0's output.
    """

    cell: Cell
    name: Name
    reason: str
    step: int
    speed: float
    loss: float
    restarts: int
    node: str
    log: str

    @property
    def seconds_left(self) -> float | None:
        """Estimate of what is left, from the newest images/s."""
        return (self.cell.steps - self.step) * self.cell.batch_size / self.speed if self.speed and self.name == "RUNNING" else None


def folder_of(sweep: Path, cell: Cell) -> JobFolder:
    """Return the job folder of a cell."""
    return JobFolder(sweep.absolute() / "cells" / cell.name)


def states(sweep: Path, manifest: Manifest) -> list[State]:
    """Look at every cell, and ask Slurm twice at most."""
    folders = {cell.name: folder_of(sweep, cell) for cell in manifest.cells}
    jobs = {name: (folder.read("submitted.json") or {}).get("job", "") for name, folder in folders.items()}
    queue = queued() if any(jobs.values()) else {}
    open_cells = [name for name, folder in folders.items() if jobs[name] not in queue and not folder.done() and not folder.failed()]
    accounts = _accounts({jobs[name] for name in open_cells if jobs[name]})
    return [_state(cell, folders[cell.name], jobs[cell.name], queue, accounts) for cell in manifest.cells]


def _state(cell: Cell, folder: JobFolder, job: str, queue: Mapping[str, Sequence[str]], accounts: Mapping[str, str]) -> State:
    name, reason = _judge(folder, job, queue, accounts)
    submitted, beat = folder.read("submitted.json") or {}, folder.read("heartbeat.json") or {}
    values = {} if name == "NEW" else folder.metrics()
    return State(
        cell,
        name,
        reason,
        int(values.get("step", 0)),
        float(values.get("images_per_second", 0)),
        float(values.get("loss/total", 0)),
        max(0, int(beat.get("generation", 1)) - 1),
        str(beat.get("host", "")),
        str(submitted.get("log", "")),
    )


def _judge(folder: JobFolder, job: str, queue: Mapping[str, Sequence[str]], accounts: Mapping[str, str]) -> tuple[Name, str]:
    if folder.done():
        return "COMPLETE", ""
    if job in queue:
        state, why = queue[job]
        return ("RUNNING", "") if state in ("RUNNING", "COMPLETING", "SUSPENDED") else ("PENDING", why)
    beat = folder.read("heartbeat.json")
    if not job and beat and beat["state"] == "running" and _age(beat["time"]) < 2 * STOPPED:
        return "RUNNING", ""
    return _ended(folder, job, beat, accounts)


def _ended(folder: JobFolder, job: str, beat: Mapping[str, Any] | None, accounts: Mapping[str, str]) -> tuple[Name, str]:
    """Judge a cell that is neither complete nor known to be at work."""
    if failed := folder.failed():
        return "FAILED", str(failed["reason"])
    if not job:
        return ("FAILED", f"died without a word after {beat['time']}") if beat else ("NEW", "")
    ending = accounts.get(job, "UNKNOWN").split()[0]
    if ending in ("RUNNING", "PENDING", "REQUEUED"):  # the accounts lag behind
        return "PENDING", ""
    words = ENDINGS.get(ending, f"ended as {ending} in the accounts of Slurm")
    return "FAILED", f"{words}; its checkpoint is of step {folder.step()}"


def _age(time: str) -> float:
    return (datetime.fromisoformat(now()) - datetime.fromisoformat(time)).total_seconds()


def _accounts(jobs: Iterable[str]) -> dict[str, str]:
    """Return how jobs ended that are no longer in the queue; nothing on clusters that keep no accounts."""
    wanted = sorted({job.split("_")[0] for job in jobs})
    if not wanted:
        return {}
    try:
        lines = ask("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(wanted)}", "--format=JobID,State")
    except UserError:
        return {}
    return dict(line.split("|", 1) for line in lines)
