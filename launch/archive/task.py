"""A task of a job array over the shards of a set: what is sent to the cluster to pack or to verify."""

import json
import os
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dsva.exit_codes import DONE, stopped_by
from dsva.train.stopping import handle, restore
from launch import voice
from launch.jobs.folder import JobFolder
from launch.jobs.lease import Lease
from launch.jobs.worker import Worker
from launch.slurm.task import Task, failures_noted, start_again
from shards.distributed_pack import pack_part
from shards.errors import UserError
from shards.files import replace_with
from shards.verify import check_shards


class _Stopped(BaseException):
    """A signal; no Exception, so that nothing on the way takes it for a fault."""


@dataclass(frozen=True)
class ArchiveTask(Task, ABC):
    """Some shards of a set; started again, it goes on with those that are not finished.

    Attributes:
        run: folder of its own, for its notes.
        shards: numbers of its shards.
        workers: processes.
    """

    run: Path
    shards: tuple[int, ...]
    workers: int

    @abstractmethod
    def work(self) -> None:
        """Do what is not done yet."""

    def __call__(self) -> int:
        """Return 0 when the part is done.

        Raises:
            SystemExit: 2 a mistake in what was given; 128 plus a signal's number when it was stopped; 255 after asking Slurm
                to start the job again.
        """
        folder, worker = JobFolder(self.run), Worker.of(os.environ)
        if folder.done():
            return DONE
        with failures_noted(folder, lambda error: f"{type(error).__name__}: {error}"):
            voice.set_up_job()
            with Lease(folder, worker) as lease:
                folder.forget_failure()
                if number := self._stopped():
                    start_again(lease, number)
                    sys.exit(stopped_by(number))
        folder.write("done.json", start=worker.start)
        return DONE

    def _stopped(self) -> int:
        """Work; return 0, or the number of the signal that ended it. No shard is left half made."""
        number = 0

        def stop(received: int, _: FrameType | None) -> None:
            nonlocal number
            number = received
            raise _Stopped

        before = handle(stop)
        try:
            self.work()
        except (_Stopped, UserError):
            # Processes of this part that the same signal ended look like ones that were killed.
            if not number:
                raise
        finally:
            restore(before)
        return number


@dataclass(frozen=True)
class PackTask(ArchiveTask):
    """Shards of a packing that `shards.distributed_pack.plan_parts` has planned."""

    target: Path
    fingerprint: str
    skip_bad: bool

    def work(self) -> None:
        """Make the shards; and the set, if this is the last part."""
        pack_part(self.target, self.fingerprint, self.shards, workers=self.workers, skip_bad=self.skip_bad)


@dataclass(frozen=True)
class VerifyTask(ArchiveTask):
    """Shards of a set to be checked; what was found in each is written into the folder `found`."""

    root: Path
    found: Path

    def work(self) -> None:
        """Check the shards."""
        todo = [number for number in self.shards if not findings_file(self.found, number).exists()]
        for number, findings in zip(todo, check_shards(self.root, todo, self.workers), strict=True):
            replace_with(findings_file(self.found, number), json.dumps(findings).encode())


def findings_file(found: Path, number: int) -> Path:
    """Return the file that holds what was found in a shard."""
    return found / f"{number:06d}.json"
