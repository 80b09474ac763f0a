"""The samples of WebDataset tars: which members belong together, and what class they say they are."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from shards.files import printable
from shards.images import EXTENSIONS
from shards.sources.records import Ignored, Refused
from shards.tar import Member, members

# Where a sample's JSON may name its class, in the order of preference.
CLASS_FIELDS = ("class", "label", "class_name", "cls")
MAX_TEXT = 1 << 20
_BASE_DOT = re.compile(r"^((?:.*/)?[^/.]+)\.([^/]*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sample:
    """An image in a tar and what its neighbours say of it.

    Attributes:
        key: the members' common name.
        class_text: what its .cls file, its JSON or its folder says that it is.
        folder: first folder of the key, or "".
        split: from its JSON, or "".
        image: where the image lies.
    """

    key: str
    class_text: str
    folder: str
    split: str
    image: Member


def samples(path: Path) -> Iterator[Sample | Refused | Ignored]:
    """Yield the samples of a tar in their order.

    Raises:
        UserError: the tar is damaged, or not a plain one.
    """
    with path.open("rb", buffering=0) as file:
        for key, group in groupby(((*_split(member.name), member) for member in members(path)), key=lambda part: part[0]):
            parts: dict[str, Member] = {}
            for _, extension, member in group:
                parts.setdefault(extension, member)
            yield _sample(path, file.fileno(), key, parts)


def _split(name: str) -> tuple[str, str]:
    match = _BASE_DOT.match(name.removeprefix("./"))
    return (match[1], match[2].lower()) if match else (name, "")


def _sample(path: Path, descriptor: int, key: str, parts: dict[str, Member]) -> Sample | Refused | Ignored:
    name = f"{printable(path.name)}: {printable(key)}"
    images = [member for extension, member in parts.items() if f".{extension}" in EXTENSIONS]
    if not images:
        return Ignored("not an image in a tar")
    if len(images) > 1:
        return Refused(name, "holds more than one image")
    folder = key.partition("/")[0] if "/" in key else ""
    try:
        described = _described(_text(descriptor, parts.get("json")))
        label = _text(descriptor, parts.get("cls")) or described.get("class") or folder
    except ValueError as error:
        return Refused(name, str(error))
    if not label:
        return Refused(name, "has no class: neither a .cls file, nor a class in a .json file, nor a folder")
    return Sample(key, _plain(label), folder, described.get("split", ""), images[0])


def _text(descriptor: int, member: Member | None) -> str:
    if member is None:
        return ""
    if member.size > MAX_TEXT:
        raise ValueError(f"has a .cls or .json file larger than {MAX_TEXT >> 10} KiB")
    try:
        return os.pread(descriptor, member.size, member.offset).decode().strip()
    except UnicodeDecodeError:
        raise ValueError("has a .cls or .json file that is not UTF-8") from None


def _described(text: str) -> dict[str, str]:
    """Return class and split, where a sample's JSON names them."""
    if not text:
        return {}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("has a .json file that is not JSON") from None
    if not isinstance(fields, dict):
        return {}
    named: dict[str, Any] = {"class": next((fields[name] for name in CLASS_FIELDS if name in fields), None)}
    named["split"] = fields.get("split")
    return {name: str(value) for name, value in named.items() if isinstance(value, str | int) and not isinstance(value, bool)}


def is_number(text: str) -> bool:
    """Tell whether a class is given as a plain non-negative integer."""
    return text.isascii() and text.isdigit() and len(text) < 19


def _plain(text: str) -> str:
    return str(int(text)) if is_number(text) else text


def sort_classes(names: Iterable[str]) -> list[str]:
    """Return class names in the order of their labels: by name, or by value where all are numbers."""
    names = list(names)
    return sorted(names, key=int) if all(map(is_number, names)) else sorted(names)


class ClassNames:
    """Learns from all samples of a set what their classes are called.

    Numbers that stand for folders, one folder a number and 0, 1, 2 ... without a gap, are called by
    their folders, as in the sets that this package writes; any other class is called by its text.
    """

    def __init__(self) -> None:
        self._folder: dict[str, str | None] = {}

    def add(self, class_text: str, folder: str) -> None:
        """Take note of a sample, or of many that agree."""
        known = self._folder.setdefault(class_text, folder)
        if known != folder:
            self._folder[class_text] = None

    def folders(self) -> dict[str, str] | None:
        """Return the folder of every number, in the order of the labels, where numbers stand for folders."""
        texts = sort_classes(self._folder)
        folders = [folder for folder in map(self._folder.__getitem__, texts) if folder]
        numbers = [str(label) for label in range(len(texts))]
        return (
            dict(zip(texts, folders, strict=True)) if texts == numbers and len(folders) == len(set(folders)) == len(texts) else None
        )

    def names(self) -> dict[str, str]:
        """Return the name of every class text, in the order of the labels."""
        return self.folders() or {text: text for text in sort_classes(self._folder)}
