"""Work on a shard set as a job array: the same command queues it, says how far it is, and at last what came of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch import voice
from launch.archive.array import Array
from launch.archive.task import ArchiveTask
from launch.jobs.lock import alone
from launch.slurm.batch import check_folder, cluster_config
from launch.submission import start
from shards.errors import UserError

GIGABYTES = 2  # of memory for each process: an image of the largest size that is packed by default, decoded, and its bytes


@dataclass(frozen=True)
class Spread:
    """How work is spread over a cluster.

    Attributes:
        jobs: tasks of the array, at most.
        workers: processes of each.
        defaults: file of configs/cluster/, for account, setup lines and the like.
        partition: of Slurm.
        wait: stay until the array has ended.
    """

    jobs: int
    workers: int
    defaults: Path | None
    partition: str | None
    wait: bool


class Undertaking(ABC):
    """What an array is to do.

    Attributes:
        what: it does to `of`, in a word.
        of: shard set.
        asked: what makes it this very undertaking; an array that was asked for something else counts for nothing.
        array: its notes.
    """

    what: str
    of: Path
    asked: dict[str, Any]
    array: Array

    @abstractmethod
    def done(self) -> bool:
        """Return whether there is something to report."""

    @abstractmethod
    def parts(self, spread: Spread) -> Sequence[ArchiveTask]:
        """Return what is left to do; nothing if it was so little that it was done here and now."""

    @abstractmethod
    def sizes(self) -> dict[int, tuple[int, int]]:
        """Return images and bytes of each shard."""

    @abstractmethod
    def finished(self) -> set[int]:
        """Return the shards that are finished."""

    @abstractmethod
    def report(self) -> None:
        """Say what came of it, and remove all notes.

        Raises:
            UserError: nothing good.
        """


def carry_out(task: Undertaking, spread: Spread) -> None:
    """Queue what is not done yet, unless it is queued already; say how far it is; report what is done.

    Raises:
        UserError: something is wrong with what was given, a job has failed, or the report says so.
    """
    array = task.array
    start.decide("slurm")
    check_folder(array.folder)
    with alone(array.folder):
        if not array.at_work() and not task.done():
            array.raise_failure(task.asked)
            _queue(task, spread)
    at_work = array.at_work()
    if at_work and not spread.wait:
        _say(task, at_work)
        return
    if at_work:
        array.watch(task.what, task.sizes(), task.finished)
    if not task.done():
        array.raise_failure(task.asked)
        raise UserError(f"the jobs {task.what} {task.of} ended early, cancelled perhaps: give the same command to continue")
    task.report()


def _queue(task: Undertaking, spread: Spread) -> None:
    each = {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": 1, "cpus_per_task": spread.workers}
    memory = {"memory_gb": GIGABYTES * spread.workers}
    cluster = cluster_config(spread.defaults, {**each, **memory, "partition": spread.partition})
    if parts := task.parts(spread):
        task.array.queue(parts, task.asked, f"{task.what}-{task.of.name}", cluster)


def _say(task: Undertaking, at_work: dict[str, int]) -> None:
    jobs = ", ".join(f"{count} {state}" for state, count in at_work.items())
    sizes, finished = task.sizes(), task.finished()
    voice.show(f"{task.what} {task.of}: {len(finished)} of {len(sizes)} shards finished; jobs: {jobs}")
    voice.show("The same command says how far it is, and at last what came of it; with --wait it stays until then.")
