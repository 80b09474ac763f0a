"""Settings in typed sections: read from YAML files and dotted overrides, checked before any work starts.

What a path in a file is relative to, its field's type says: `Path` to the current folder, `FileBeside` and `RelativeToFile` to the
file, `FolderOrHubId` marks names that may be a folder's.
"""

import difflib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from dsva.yaml_files import Dumper, parse, read_mapping
from shards.errors import UserError
from shards.files import has_control, without_control

MAX_SECTIONS = 8  # in one another
SHOWN = 200  # characters of a value that a message repeats
NO_SECTION = "Input should be keys with values"  # instead of pydantic's words, which name a class of ours


class _Relative(Enum):
    """What a relative path is relative to, where that is not the current folder."""

    PERHAPS_TO_FILE = "the file that names it, where it lies there and not in the current folder"
    TO_FILE = "the file that names it"


FileBeside = Annotated[Path, _Relative.PERHAPS_TO_FILE]
RelativeToFile = Annotated[Path, _Relative.TO_FILE]


@dataclass(frozen=True)
class FolderOrHubId:
    """Marks text that is a folder's path, if there is such a folder, and else a hub id; `but` for words that are neither."""

    but: tuple[str, ...] = ()


class Section(BaseModel):
    """A part of the settings: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    all_keys: ClassVar[str] = ""
    """Where a person who gave an unknown key finds all of them, if they are too many for a sentence."""

    @field_validator("*", mode="before")
    @classmethod
    def _plain_text(cls, value: Any, info: ValidationInfo) -> Any:
        # Values go into batch scripts, file names and terminals, where a line end would begin a line of its own.
        kind = cls.model_fields[str(info.field_name)].annotation
        if not (isinstance(kind, type) and issubclass(kind, Section)):  # which checks its own fields
            for text in texts(value):
                if has_control(text):
                    raise ValueError(
                        f"{text[:SHOWN]!r} has a control character, a line end or bytes that are no UTF-8: leave it out"
                    )
        return value


S = TypeVar("S", bound=Section)


def read(kind: type[S], file: Path | None, changes: Mapping[str, Any] | None = None) -> S:
    """Read `file`, if one is given, change some of its values, and check all of them.

    Raises:
        UserError: unreadable, unknown key (with the nearest known one), or a value out of range.
    """
    values = {**(read_mapping(file) if file else {}), **(changes or {})}
    made = checked(kind, values, str(file or "the options"))
    return beside(made, file.parent) if file else made


def read_values(file: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the plain values of a YAML file, changed by `section.key=value` overrides.

    Raises:
        UserError: unreadable, or an override that is none.
    """
    values = read_mapping(file)
    for override in overrides:
        _put(values, override)
    return values


def as_override(key: str, value: str | Path) -> str:
    """Return the override that gives `key` this very text, whatever it would be as YAML."""
    return f"{key}={json.dumps(str(value), ensure_ascii=False)}"


def checked(kind: type[S], values: Any, source: str) -> S:
    """Check plain values; `source` names them in the error sentence.

    Raises:
        UserError: unknown key (with the nearest known one), or a value out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {sentence(kind, error)}") from None


def beside(settings: S, folder: Path) -> S:
    """Return settings that were read from a file in `folder`, with the paths in place that are relative to it."""

    def put(path: Path | str, mark: object) -> Path | str:
        if mark is _Relative.TO_FILE:
            return (folder / path).resolve()
        # os.path, because Path.exists raises where a name is too long.
        there = mark is _Relative.PERHAPS_TO_FILE and not os.path.exists(path) and os.path.exists(folder / path)  # noqa: PTH110
        return folder / path if there else path

    return _with_paths(settings, put)


def absolute(settings: S) -> S:
    """Return the settings with absolute paths, which mean the same on every node and from every folder."""

    def put(path: Path | str, mark: object) -> Path | str:
        if isinstance(mark, FolderOrHubId):
            return str(Path(path).absolute()) if path not in mark.but and os.path.isdir(path) else path  # noqa: PTH112
        return Path(path).absolute()

    return _with_paths(settings, put)


def as_yaml(settings: Section) -> str:
    """Return settings as YAML."""
    return yaml.dump(settings.model_dump(mode="json"), Dumper=Dumper, sort_keys=False)


def documentation(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (dotted key, default, description) of every field of a section and those below."""
    for name, info in kind.model_fields.items():
        below = info.annotation
        if isinstance(below, type) and issubclass(below, Section):
            yield from documentation(below, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(info.default), info.description or ""


def texts(value: Any) -> Iterator[str]:
    """Yield all strings in a tree of plain values, names of keys included."""
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in texts(part))


def _put(tree: dict[str, Any], override: str) -> None:
    """Put the value of `section.key=value` into a tree of plain values; parts that aliases share are copied."""
    key, given, value = override.partition("=")
    *sections, name = key.split(".")
    if not given or not all((*sections, name)) or len(sections) > MAX_SECTIONS:
        raise UserError(f"override {override[:SHOWN]!r} is not of the form section.key=value, such as train.steps=300")
    for section in sections:
        below = tree.get(section, {})
        if not isinstance(below, dict):
            raise UserError(f"override {override[:SHOWN]!r}: {section} is no section but {below!r}: correct one of them")
        tree[section] = tree = dict(below)
    try:
        read = parse(value)
    except ValueError as error:
        raise UserError(f"override {override[:SHOWN]!r} cannot be read as YAML ({error}): correct it") from None
    # Text without quotes stays as it was typed: YAML would take ` #1` in the name of a folder for a comment, `a: b` for a mapping.
    as_typed = isinstance(read, str | dict) and value.lstrip()[:1] not in "'\"|>!&*{?"
    tree[name] = value.strip() if as_typed else read


def sentence(kind: type[BaseModel], error: ValidationError) -> str:
    """Say what is wrong with the values of a section or of a file: an unknown key first, with the nearest known one."""
    errors = error.errors()
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    key = without_control(".".join(str(part) for part in first["loc"] if part != "[key]"))[:SHOWN]
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, [*kind.model_fields, *(name for name, _, _ in documentation(kind))], 1, 0.5)
        if near:
            return f"there is no key {key!r}; did you mean {near[0]!r}?"
        all_keys = kind.all_keys if issubclass(kind, Section) else ""
        return f"there is no key {key!r}; {all_keys or 'known are ' + ', '.join(kind.model_fields)}"
    if first["type"] == "missing":
        return f"there is no {key!r}, which is needed"
    message = NO_SECTION if first["type"] == "model_type" else first["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"{key}: {message}" if first["type"] == "value_error" else f"{key}={repr(first['input'])[:SHOWN]}: {message}"


def _with_paths(settings: S, put: Callable[[Path | str, object], Path | str]) -> S:
    """Return a section with each path in it and below it put elsewhere, as its field's type marks it."""

    def changed(value: Any, mark: object) -> Any:
        if isinstance(value, Section):
            return _with_paths(value, put)
        if isinstance(value, dict):
            return {key: changed(part, mark) for key, part in value.items()}
        if isinstance(value, tuple):
            return tuple(changed(part, mark) for part in value)
        return put(value, mark) if isinstance(value, Path) or (isinstance(value, str) and mark) else value

    fields = type(settings).model_fields
    return settings.model_copy(update={name: changed(value, _mark(fields[name])) for name, value in settings})


def _mark(field: FieldInfo) -> object:
    """Return what marks the paths of a field, if anything does."""
    found, kinds = list(field.metadata), [field.annotation]
    while kinds:
        kind = kinds.pop()
        found += getattr(kind, "__metadata__", ())
        kinds += get_args(kind)
    return next((mark for mark in found if isinstance(mark, _Relative | FolderOrHubId)), None)
