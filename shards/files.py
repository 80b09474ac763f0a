"""Files: writing them so that a crash leaves the old one or the new one, hashing them, naming them in messages."""

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def sync(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes, writer: str = "") -> None:
    """Replace a file in one step: write it beside its place, onto the disk, and rename it. A crash leaves the old one.

    Args:
        path: of the file.
        content: of it; text is written as UTF-8.
        writer: a name of its own for each of several processes that may write the file at once.

    Raises:
        OSError: it cannot be written; the old one is left, and nothing beside it.
    """
    beside = path.with_name(f".{path.name}.{writer}{'.' if writer else ''}writing")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def replace_with(path: Path, data: bytes) -> None:
    """Replace a file as `write_atomically` does, and make sure that its name is on the disk, too."""
    write_atomically(path, data)
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
