"""What the class files have in common: bounded reading, and sentences for names that do not match."""

import difflib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shards.errors import UserError

MAX_BYTES = 256 << 20  # a table that says from which of 20 million images it was made


def read_bytes(path: Path) -> tuple[bytes, str]:
    """Read a small file whole; return its bytes and their sha256 in hexadecimal.

    Raises:
        UserError: missing, unreadable, or larger than `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give the path of an existing file") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no table of classes is: give another file")
    return content, hashlib.sha256(content).hexdigest()


def read_json(path: Path) -> tuple[dict[str, Any], str]:
    """Read a JSON object; return it and the file's sha256.

    Raises:
        UserError: as `read_bytes`, or not a JSON object.
    """
    content, sha256 = read_bytes(path)
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
    if repeated := [name for place, name in enumerate(value) if name in value[:place]]:
        raise UserError(f"{path}: {what} names {repeated[0]!r} twice: remove one of them")
    return tuple(value)


def alias(name: str) -> str:
    """Reduce a name to its letters and digits in lower case: `Bare_Land` and `bare land` are one class."""
    return "".join(character for character in name.casefold() if character.isalnum()) or name


def same_names(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that are the same but for case, spaces and punctuation, if there are any."""
    met: dict[str, str] = {}
    for name in names:
        if alias(name) in met:
            return met[alias(name)], name
        met[alias(name)] = name
    return None


def unknown(name: str, known: Iterable[str], limit: int = 12) -> str:
    """Return the end of a sentence on an unknown name: the nearest known one, or the list of them."""
    by_alias = {alias(other): other for other in known}
    near = difflib.get_close_matches(alias(name), by_alias, 1, 0.6)
    if near:
        return f"did you mean {by_alias[near[0]]!r}?"
    listed = list(by_alias.values())
    return f"known are {', '.join(listed[:limit])}{', ...' if len(listed) > limit else ''}"
