"""Small YAML files with one typed section, checked as an experiment's configuration is."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from dsva.config import Section, _Loader, documentation
from shards.errors import UserError

S = TypeVar("S", bound=Section)


def read(kind: type[S], file: Path | None, changes: Mapping[str, Any]) -> S:
    """Read `file`, if one is given, change some of its values, and check all of them.

    Raises:
        UserError: unreadable, unknown key (with the nearest known one), or a value out of range.
    """
    try:
        values = yaml.load(file.read_text(), _Loader) if file else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values or {}, dict):
        raise UserError(f"{file} holds a {type(values).__name__} where `key: value` lines are needed: correct the file")
    try:
        return kind.model_validate({**(values or {}), **changes})
    except ValidationError as error:
        raise UserError(f"{file or 'the options'}: {_sentence(kind, error)}") from None


def _sentence(kind: type[Section], error: ValidationError) -> str:
    errors = error.errors()
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [*kind.model_fields, *(name for name, _, _ in documentation(kind))]
        near = difflib.get_close_matches(key, known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(kind.model_fields)}"
        return f"there is no key {key!r}; {hint}"
    message = first["msg"].removeprefix("Value error, ")
    return message if not key else f"{key}={first['input']!r}: {message}"
