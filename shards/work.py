"""The folder `<SHARDS>.partial` that a set is packed in, and who may work there."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import UserError


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
    with locked(work, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        if not alone:
            raise UserError(f"{work} is being written by another process: wait for it to end, or stop it")
        try:
            yield work
        finally:
            if sorted(work.rglob("*")) == [work / "lock", work / "set"]:
                shutil.rmtree(work)


@contextmanager
def locked(work: Path, how: int) -> Iterator[bool]:
    """Hold the lock of a working folder, `how` as `fcntl.flock` means it; yields whether it was to be had."""
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, how)
            had = True
        except BlockingIOError:
            had = False
        except OSError:  # a file system without locks
            had = True
        yield had
