"""Locks on folders: one command queues work at a time, and a run waits for what an earlier start of it has left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsva.run_directory import LOCK
from shards.errors import UserError
from shards.locks import take


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep two commands from queueing the same work, whose notes lie in `folder`.

    Raises:
        UserError: another command is doing so, or the folder cannot be made or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): give a folder where that is possible") from None
    with lock:
        try:
            taken = take(lock)
        except OSError as error:
            raise UserError(f"{folder} cannot be locked ({error.strerror}): give a folder on a file system with locks") from None
        if not taken:
            raise UserError(f"another command is at work on {folder}: wait for it")
        yield


def await_earlier(run: Path, seconds: float = 60) -> None:
    """Wait for a process of an earlier start that cannot be killed at once, on a node that hangs say.

    Raises:
        TimeoutError: it does not end.
    """
    end = time.monotonic() + seconds
    with (run / LOCK).open("a") as lock:
        while time.monotonic() < end:
            with suppress(OSError):  # of the file system, which may answer the next time
                if take(lock):
                    return
            time.sleep(0.5)
    raise TimeoutError(f"a process of an earlier start still holds {run}")
