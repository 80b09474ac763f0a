"""What the .cls and .json files of a WebDataset sample say of its image."""

import json
import os
from dataclasses import dataclass
from typing import Any

from shards.split_words import names_split
from shards.tarscan import Member

# Where a sample's JSON may name its class, in the order of preference.
CLASS_FIELDS = ("class", "label", "class_name", "cls")
MAX_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Said:
    """Class and split as a sample's files tell them; "" where they do not."""

    class_text: str
    split: str


def read_sidecars(descriptor: int, cls: Member | None, described: Member | None) -> Said:
    """Read a sample's .cls and .json file, where it has them; the .cls file's word on the class counts.

    Raises:
        ValueError: one cannot be understood, or they contradict one another; the text follows the sample's name.
    """
    label = _plain(_text(descriptor, cls))
    if cls is not None and not label:
        raise ValueError("has an empty .cls file: write its class into it")
    fields = _fields(_text(descriptor, described)) if described is not None else {}
    if "split" not in fields and (
        other := next((name for name, value in fields.items() if names_split(name) and value not in (None, "")), None)
    ):
        raise ValueError(f"has a .json file whose {other!r} looks like a split and would be ignored: call it split, or remove it")
    classes = [_plain(text) for name in CLASS_FIELDS if (text := _value(fields, name))]
    classes.sort(key=is_number)  # a name says more than a number
    comparable = [text for text in classes if is_number(text) == is_number(label)]
    if label and comparable and label not in comparable:
        raise ValueError(f"has the class {label!r} in its .cls file and {comparable[0]!r} in its .json file: correct one")
    return Said(label or next(iter(classes), ""), _value(fields, "split"))


def is_number(text: str) -> bool:
    """Tell whether a class is given as a plain non-negative integer."""
    return text.isascii() and text.isdigit() and len(text) < 19


def _plain(text: str) -> str:
    return str(int(text)) if is_number(text) else text


def _text(descriptor: int, member: Member | None) -> str:
    if member is None:
        return ""
    if member.odd:
        raise ValueError(f"has a .cls or .json file that {member.odd}")
    if member.size > MAX_TEXT:
        raise ValueError(f"has a .cls or .json file larger than {MAX_TEXT >> 10} KiB")
    try:
        return os.pread(descriptor, member.size, member.offset).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError("has a .cls or .json file that is not UTF-8") from None


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("has a .json file that is not JSON") from None
    # A list, of boxes say, cannot name a class.
    if not isinstance(fields, dict):
        return {}
    known = ("split", *CLASS_FIELDS)
    return {short if (short := name.strip().casefold()) in known else name: value for name, value in fields.items()}


def _value(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():  # as pandas writes whole numbers of a column with gaps
        value = int(value)
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return "" if value is None else str(value).strip()
    raise ValueError(f"has a .json file whose {name!r} is {json.dumps(value)[:40]}: write a text or a whole number")
