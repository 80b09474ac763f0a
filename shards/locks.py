"""Locks on files: held until the file is closed, by the process's end at the latest, on a shared file system too."""

import fcntl
from typing import IO

ALONE, TOGETHER = fcntl.LOCK_EX, fcntl.LOCK_SH


def take(file: IO[str], how: int = ALONE, wait: bool = False) -> bool:
    """Lock an open file; return False where another process holds it.

    Args:
        file: to be locked, as long as it stays open.
        how: `ALONE`, or `TOGETHER` with others that lock it so.
        wait: for the others to let it go.

    Raises:
        OSError: the file system keeps no locks.
    """
    try:
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
