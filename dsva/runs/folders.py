"""Folders that appear, change places and go in one step, so that a kill between any two changes of the disk loses nothing."""

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from dsva.files import FULL
from shards.files import sync

WRITING, REPLACED, GOING = ".writing", ".replaced", ".going"  # what the hidden name of a folder on its way ends with
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}  # what file systems and kernels say that cannot exchange


def beside(final: Path, suffix: str = WRITING) -> Path:
    """Return the hidden name beside a folder's own."""
    return final.with_name(f".{final.name}{suffix}")


def begin(final: Path) -> None:
    """Make an empty folder beside `final`, for what shall take its place."""
    remove(beside(final))
    beside(final).mkdir(parents=True)


def publish(final: Path) -> None:
    """Put the folder that was written beside `final` into its place, whole, and remove what was there."""
    new = beside(final)
    if not os.path.lexists(final):
        new.rename(final)
        sync(final.parent)
        return
    try:
        _exchange(new, final)
        old = new
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        old = beside(final, REPLACED)
        remove(old)
        final.rename(old)  # `tidy` puts it back if nothing follows
        new.rename(final)
    sync(final.parent)
    remove(old)


def discard(path: Path) -> None:
    """Let a folder disappear at once, and then remove it: nobody meets half of it."""
    going = beside(path, GOING)
    remove(going)
    path.rename(going)
    remove(going)


def remove(path: Path) -> None:
    """Remove a hidden folder, or a link or file in its place, as far as that can be done; `tidy` tries again."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Undo and remove what a kill has left of folders on their way; nobody else may work in `folder`."""
    for old in folder.glob(f".*{REPLACED}"):
        final = old.with_name(old.name.removeprefix(".").removesuffix(REPLACED))
        if not os.path.lexists(final):
            old.rename(final)
    for suffix in (WRITING, REPLACED, GOING):
        for left in folder.glob(f".*{suffix}"):
            remove(left)


def link(names: Iterable[str], source: Path, target: Path) -> None:
    """Give files a second name in another folder; copy them where the file system has no hard links."""
    for name in names:
        try:
            os.link(source / name, target / name)
        except OSError as error:
            if error.errno in FULL:
                raise
            shutil.copyfile(source / name, target / name)
            sync(target / name)
    sync(target)


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change names in one step.

    Raises:
        OSError: the system or the file system cannot.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    sys.audit("os.rename", str(one), str(other), -1, -1)  # as for every other rename
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))
