"""Files: writing them so that a crash leaves the old one or the new one, hashing them, naming them in messages."""

import hashlib
import os
import re
from pathlib import Path

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_control(text: str) -> bool:
    """Tell whether a name has a control character or line end, or bytes that were no UTF-8."""
    return _CONTROL.search(text) is not None


def without_control(text: str) -> str:
    """Return a text whose control characters, which could move a terminal's cursor, are escapes; other texts stay as they are."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def printable(path: str | Path) -> str:
    """Return a path for messages and JSON: bytes that are no UTF-8 and control characters become escapes."""
    if str(path).isprintable():
        return str(path)
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
