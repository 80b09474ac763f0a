"""The folder `<SHARDS>.partial` that a set is packed in, and who may work there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import UserError
from shards.locks import ALONE, take


def working(target: Path) -> Path:
    """Return the folder that the set `target` is packed in."""
    return target.with_name(target.name + ".partial")


@contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """Make the folder that a set is packed in, and keep others out of it; remove it where nothing was planned in it.

    Raises:
        UserError: the set exists, or another process is at work on it.
    """
    if os.path.lexists(target):  # a link to nothing is in the way too
        raise UserError(f"{target} exists already: give another folder, or remove it to pack again")
    work = working(target)
    (work / "set").mkdir(parents=True, exist_ok=True)
    with locked(work) as alone:
        if not alone:
            raise UserError(f"{work} is being written by another process: wait for it to end, or stop it")
        try:
            yield work
        finally:
            if sorted(work.rglob("*")) == [work / "lock", work / "set"]:
                shutil.rmtree(work)


@contextmanager
def locked(work: Path, how: int = ALONE, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a working folder, as `shards.locks.take` does; yields whether it was to be had."""
    with (work / "lock").open("w") as lock:
        try:
            had = take(lock, how, wait)
        except OSError:  # a file system without locks
            had = True
        yield had
