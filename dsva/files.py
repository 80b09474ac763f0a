"""Small files that are either the old ones or the new ones, files that grow by whole pieces, and disks without room."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from shards import files
from shards.errors import UserError

# What the system says where there is no room. EIO is none of them: a disk that fails is no mistake of the user's, and the next
# start may be on another node.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoomError(UserError, OSError):
    """There was no room for a file; what was there before is as it was.

    Attributes:
        reason: in the system's words, with the file.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        self.reason = f"{path} cannot be written ({error.strerror})"
        super().__init__(f"{self.reason}: make room there, and give the same command again")
        self.errno = error.errno


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Name `path` where the work of the context fails for want of room.

    Raises:
        NoRoomError: there is none.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL or isinstance(error, NoRoomError):
            raise
        raise NoRoomError(path, error) from None


def write_atomically(path: Path, content: str | bytes, writer: str = "") -> None:
    """Replace a file in one step, as `shards.files.write_atomically` does.

    Raises:
        NoRoomError: there is no room for it; the old one is left, and nothing beside it.
    """
    with room_for(path):
        files.write_atomically(path, content, writer)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path`, which takes its place when the context ends well, and is gone where not.

    Raises:
        UserError: `path` exists and is not an empty folder.
        NoRoomError: there is no room for what is written to it.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists and is not an empty folder: give a new one")
    beside = path.absolute().with_name(f".{path.absolute().name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    with room_for(path):
        try:
            beside.mkdir(parents=True)
            yield beside
            beside.rename(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def on_full_disk(work: Callable[[], object]) -> str | None:
    """Do something; return why it failed if the disk is full, raise whatever else goes wrong."""
    try:
        work()
    except OSError as error:
        if error.errno in FULL:
            return str(error.strerror)
        raise
    return None


class Growing:
    """A file that grows by pieces, each of which is written whole; one for which there is no room is owed.

    Attributes:
        short: whether there was no room the last time; what is owed is written before the next piece.
    """

    def __init__(self, path: Path, head: bytes = b"") -> None:
        """Begin with `head`, written with the first piece, which makes the file if need be."""
        self._path, self._owed, self.short = path, head, False
        self._file: FileIO | None = None

    def add(self, piece: bytes) -> None:
        """Write what is owed and a piece.

        Raises:
            NoRoomError: there is no room for them; the file is as it was, and they are owed.
        """
        self._owed += piece
        self.short = True
        with room_for(self._path):
            if self._file is None:
                self._path.parent.mkdir(exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            end = os.fstat(self._file.fileno()).st_size
            try:
                left = memoryview(self._owed)
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                os.ftruncate(self._file.fileno(), end)
                raise
        self._owed, self.short = b"", False

    def close(self) -> None:
        """Close the file; what is owed is lost.

        Raises:
            NoRoomError: only now did the system say that there was no room.
        """
        if self._file:
            with room_for(self._path):
                self._file.close()


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add an object to a file of one in JSON a line, whole or not at all.

    Raises:
        NoRoomError: there is no room for it.
    """
    torn = path.is_file() and not path.read_bytes().endswith(b"\n")  # by a kill: the next line is not to be lost with it
    file = Growing(path, b"\n" if torn else b"")
    try:
        file.add(f"{json.dumps(values)}\n".encode())
    finally:
        file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one in JSON a line, but for what a kill or a full disk has left of others."""
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return [found for line in lines if (found := as_object(line))]


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a small JSON file of notes; empty where there is no such file, or none that can be read."""
    try:
        return as_object(path.read_text(errors="replace"))
    except OSError:
        return {}


def as_object(text: str) -> dict[str, Any]:
    """Return the object that JSON text holds; empty where it holds something else, or is damaged.

    For notes of ours, whose loss stops nothing: no form is asked for, as there is for files that people give (`dsva.json_files`).
    """
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    return {}
