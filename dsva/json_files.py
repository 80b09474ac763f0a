"""JSON files: bounded reading, the checks of what they hold, and sentences for names that do not match."""

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError

from dsva.settings import sentence
from shards.errors import UserError
from shards.files import has_control, printable
from shards.names import alias

SHOWN_NAME = 80  # characters of a name that a message repeats
MAX_BYTES = 256 << 20  # a table that says from which of 20 million images it was made
CORRECT = "correct the file"

M = TypeVar("M", bound=BaseModel)


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
        value = json.loads(content, object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): correct the file") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__} where an object {{...}} is needed: correct the file")
    return value, sha256


def read_model(path: Path, kind: type[M], mend: str = CORRECT, limit: int = MAX_BYTES) -> tuple[M, str]:
    """Read a JSON object of a known form; return it and the file's sha256.

    Raises:
        UserError: as `read_json` and `checked`.
    """
    value, sha256 = read_json(path, limit)
    return checked(kind, value, path, mend), sha256


def checked(kind: type[M], value: object, path: Path, mend: str = CORRECT, place: str = "") -> M:
    """Check plain values that were read from `path`; `place` says where in it they stand, `mend` what to do about a wrong one.

    Raises:
        UserError: a key or a value is not as it should be, see `dsva.settings.sentence`.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{path}: {place}{sentence(kind, error)}: {mend}") from None


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's keys and values; of a key that stands twice the first value would be lost without a word."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"the key {_repeated([key for key, _ in pairs])!r} is there twice")
    return value


def _plain(text: str) -> str:
    if not text.strip():
        raise ValueError("a name is empty")
    if has_control(text):
        raise ValueError(f"{text[:SHOWN_NAME]!r} has a control character or a line end")
    return text


def different(names: list[str]) -> list[str]:
    """Check that no name is there twice, and return them.

    Raises:
        ValueError: one is.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"{_repeated(names)!r} is there twice")
    return names


def _repeated(names: list[str]) -> str:
    return next(name for name, times in Counter(names).items() if times > 1)[:SHOWN_NAME]


Name = Annotated[str, AfterValidator(_plain)]
Names = Annotated[list[Name], FailFast(), Field(min_length=1), AfterValidator(different)]


class Schema(BaseModel):
    """What a file that people write holds: values of just the kind asked for. Keys that are not asked for may stand in it too."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


def unknown(name: str, known: Iterable[str], limit: int = 12) -> str:
    """Return the end of a sentence on an unknown name: the nearest known one, or the list of them."""
    by_alias = {alias(other): printable(other)[:SHOWN_NAME] for other in known}
    if not by_alias:
        return "there are none"
    near = difflib.get_close_matches(alias(name), by_alias, 1, 0.6)
    if near:
        return f"did you mean {by_alias[near[0]]!r}?"
    listed = list(by_alias.values())
    return f"known are {', '.join(listed[:limit])}{', ...' if len(listed) > limit else ''}"
