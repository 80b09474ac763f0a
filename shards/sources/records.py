"""What a source of images yields, and the rules for keys."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from shards.files import has_control
from shards.image_checks import EXTENSIONS, MAX_BYTES
from shards.tar import split_name

# Endings of images, and of arrays that may be images, in formats that are not read.
_PICTURES = {".webp", ".gif", ".bmp", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pnm", ".tga"}
ARCHIVES = frozenset({".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"})
OTHER_FORMATS = frozenset(_PICTURES | {".img", ".ecw", ".sid", ".hdf", ".h5", ".npy", ".npz"})


@dataclass(frozen=True, slots=True)
class Record:
    """An image where it lies.

    Attributes:
        key: of the sample, `<class>/<name>`.
        class_name: of the image.
        split: name of the source's own split, or "".
        path: of the file that holds the image, below the source's root.
        offset: of the image's bytes in that file; 0 where the file is the image.
        length: of the image's bytes.
        extension: of the image's format, such as ".jpg".
        stamp: time of the file's last change in nanoseconds, to notice a change between two runs.
    """

    key: str
    class_name: str
    split: str
    path: str
    offset: int
    length: int
    extension: str
    stamp: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An image that cannot be packed: what it is called in messages, and why it is refused."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that is not an image; `kind` is what it is counted under, `name` what it is called in messages."""

    kind: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about a source that its user has to know; `facts` are kept in the record of how the set was made."""

    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Found = Record | Refused | Ignored | Note


class Source(Protocol):
    """A collection of images with classes.

    Attributes:
        kind: what it is, for the record of how a set was made.
        root: the folder that the records' paths are relative to.
        given: what the user named, for messages.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102

    @property
    def root(self) -> Path: ...  # noqa: D102

    @property
    def given(self) -> Path: ...  # noqa: D102

    def records(self) -> Iterator[Found]:
        """Yield what is there, in an order that depends on nothing but the source.

        Raises:
            UserError: the source cannot be read as what it is.
        """
        ...


def file_key(folder: str, path: str) -> str:
    """Return the key of an image file: its name without extension below a folder of keys.

    The name's dots are percent-escaped, since a WebDataset key ends at the first of them.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0].replace("%", "%25").replace(".", "%2E")
    return f"{folder}/{stem}"


def name_refusal(key: str, class_name: str, split: str) -> str | None:
    """Return why a sample's names cannot be used, or None."""
    if not class_name or "/" in class_name or class_name in (".", ".."):
        return f"has the class name {class_name!r}, which cannot be a folder's name: give it another"
    if any(map(has_control, (key, class_name, split))):
        return "has a control character, or bytes that are no UTF-8, in its name: rename it"
    return None


def refusal(key: str, class_name: str, split: str, length: int) -> str | None:
    """Return why a sample cannot be a member of a new tar, or None."""
    if reason := name_refusal(key, class_name, split):
        return reason
    if any(part in ("", ".", "..") for part in key.split("/")):
        return "has a path that is absolute or has empty, '.' or '..' parts: name it by its path below the folder"
    if split_name(f"{key}.json".encode()) is None:
        return "has a name too long for a tar (155 bytes of folders, 100 of name): rename it"
    return size_refusal(length)


def size_refusal(length: int) -> str | None:
    """Return why an image of `length` bytes is refused, or None."""
    return f"is larger than {MAX_BYTES >> 20} MiB: cut it into scenes" if length > MAX_BYTES else None


def is_image(name: str) -> bool:
    """Tell by the extension whether a file is one of the formats that can be packed."""
    return name.lower().endswith(EXTENSIONS)


def extension(name: str) -> str:
    """Return the extension of a file in lower case, such as ".jpg", or ""."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > name.rfind("/") + 1 else ""


def image_extension(name: str) -> str:
    """Return the extension that an image file gets in a tar: its own, but the one that clients know for JPEGs called otherwise."""
    return {".jpe": ".jpg", ".jfif": ".jpg"}.get(extension(name), extension(name))
