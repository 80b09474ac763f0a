"""Writing files so that a crash at any moment leaves either the old file or the new one."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_with(path: Path, data: bytes) -> None:
    """Write a file beside its place, make sure that it is on the disk, and rename it into place."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(data)
    sync(beside)
    beside.replace(path)
    sync(path.parent)


def printable(path: str | Path) -> str:
    """Return a path for messages and JSON: bytes that are no UTF-8 and control characters become escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
