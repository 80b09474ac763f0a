"""A job array over the shards of a set, seen from where it was queued: its notes, whether it still runs, how it ended."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.archive.task import ArchiveTask
from launch.jobs.folder import JobFolder
from launch.slurm.batch import ClusterConfig
from launch.slurm.client import queued
from launch.submission import start
from shards.errors import UserError
from shards.progress import progress_bar

LOOK = 2.0  # seconds between looks at the queue


@dataclass(frozen=True)
class Array:
    """The notes in `folder`.

    job/queued.json   what was asked for, and the number of each part's job
    parts/000000/     what a part notes, see `launch.jobs.folder`
    0001/ ...         of each time that something was queued: the code, scripts, output
    """

    folder: Path

    def part(self, number: int) -> Path:
        """Return the folder of a part."""
        return self.folder / "parts" / f"{number:06d}"

    def asked(self) -> dict[str, Any] | None:
        """Return what was asked for; None where nothing was."""
        note = JobFolder(self.folder).read("queued.json")
        return note and dict(note["asked"])

    def queue(self, parts: Sequence[ArchiveTask], asked: Mapping[str, Any], name: str, cluster: ClusterConfig) -> None:
        """Queue the parts as a job array, or several where Slurm takes no such long one, after earlier ones have ended.

        Raises:
            UserError: Slurm takes no more; what it took is noted, and the next time the others are queued.
        """
        shutil.rmtree(self.folder / "parts", ignore_errors=True)
        jobs: list[str] = []
        try:
            for job in start.queue(parts, name, self.folder, cluster, len(parts)):
                jobs.append(job.number)
        finally:
            if jobs:
                JobFolder(self.folder).write("queued.json", asked=asked, jobs=jobs)

    def at_work(self) -> dict[str, int]:
        """Return how many parts are in which state of Slurm's queue; none when the array has ended.

        Raises:
            UserError: Slurm does not answer.
        """
        jobs = (JobFolder(self.folder).read("queued.json") or {}).get("jobs", [])
        waiting = queued() if jobs else {}
        states = [waiting[job][0].lower() for job in jobs if job in waiting]
        return {state: states.count(state) for state in sorted(set(states))}

    def failure(self) -> str | None:
        """Return why the first part that failed did so."""
        for run in sorted((self.folder / "parts").glob("[0-9]*")):
            if failed := JobFolder(run).failed():
                return str(failed["reason"])
        return None

    def forget(self) -> None:
        """Remove all notes."""
        shutil.rmtree(self.folder)

    def watch(self, what: str, sizes: Mapping[int, tuple[int, int]], finished: Callable[[], set[int]]) -> None:
        """Show how far the array is until it has ended.

        Args:
            what: it does, in a word.
            sizes: images and bytes of every shard.
            finished: tells which shards are.
        """
        with progress_bar(what, sum(size for _, size in sizes.values())) as advance:
            seen: set[int] = set()
            while True:
                ended = not self.at_work()
                new = (finished() & sizes.keys()) - seen
                for shard in new:
                    advance(*sizes[shard])
                seen |= new
                if ended:
                    return
                time.sleep(LOOK)

    def raise_failure(self, asked: Mapping[str, Any]) -> None:
        """Tell once how an array ended that was asked for the same.

        Raises:
            UserError: a part has failed; the next time the command is given, it is tried again.
        """
        if (reason := self.failure()) and self.asked() == asked:
            shutil.rmtree(self.folder / "parts")
            raise UserError(f"{reason} (output of the jobs: {self.folder}/*/*_log.out)")
