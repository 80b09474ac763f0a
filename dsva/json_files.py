"""What the class files have in common: bounded reading, and sentences for names that do not match."""

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.files import has_control
from shards.names import alias

MAX_BYTES = 256 << 20  # a table that says from which of 20 million images it was made


def read_bytes(path: Path, limit: int = MAX_BYTES) -> tuple[bytes, str]:
    """Read a small file whole; return its bytes and their sha256 in hexadecimal.

    Raises:
        UserError: missing, unreadable, or larger than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give the path of an existing file") from None
    if len(content) > limit:
        raise UserError(f"{path} is larger than {limit >> 20} MiB, which no such file is: give another one")
    return content, hashlib.sha256(content).hexdigest()


def read_json(path: Path, limit: int = MAX_BYTES) -> tuple[dict[str, Any], str]:
    """Read a JSON object; return it and the file's sha256.

    Raises:
        UserError: as `read_bytes`, or not a JSON object.
    """
    content, sha256 = read_bytes(path, limit)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): correct the file") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__} where an object {{...}} is needed: correct the file")
    return value, sha256


def strings(value: Any, path: Path, what: str) -> tuple[str, ...]:
    """Check that a JSON value is a list of different, non-empty strings, and return them."""
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item.strip() for item in value):
        raise UserError(f"{path}: {what} must be a list of names, and not an empty one: correct the file")
    if strange := next((name for name in value if has_control(name)), None):
        raise UserError(f"{path}: {what} has {strange[:80]!r}, which has a control character or a line end: correct the file")
    if len(set(value)) < len(value):
        repeated = next(name for name, times in Counter(value).items() if times > 1)
        raise UserError(f"{path}: {what} names {repeated!r} twice: remove one of them")
    return tuple(value)


def unknown(name: str, known: Iterable[str], limit: int = 12) -> str:
    """Return the end of a sentence on an unknown name: the nearest known one, or the list of them."""
    by_alias = {alias(other): other for other in known}
    near = difflib.get_close_matches(alias(name), by_alias, 1, 0.6)
    if near:
        return f"did you mean {by_alias[near[0]]!r}?"
    listed = list(by_alias.values())
    return f"known are {', '.join(listed[:limit])}{', ...' if len(listed) > limit else ''}"
