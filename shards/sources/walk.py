"""The one walk over folders of images, for packing and for looking at them: what is an image by its name, and what is none."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shards.description import SET
from shards.errors import UserError
from shards.files import printable
from shards.sources.records import Refused, extension, is_image
from shards.split_words import names_split

# Folders that systems leave behind, some with small copies of the images.
OF_SYSTEMS = frozenset(
    {"@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler"}
    | {"lost+found", "system volume information"}
)
_PACKING = ("lock", "set")  # what is in a set in the making, see `shards.partial_folder`
SHOWN = 12
SPLIT_LISTS = "lists called like splits"
_LISTS = frozenset({".txt", ".csv", ".tsv", ".lst", ".json", ".parquet"})


@dataclass(frozen=True)
class Folder:
    """What lies directly in a folder.

    Attributes:
        path: of the folder below the top, such as `a/b`; "" for the top.
        images: paths below the top of the files that are called like images, by name; all are regular files.
        refused: what is called like an image and cannot be one.
        ignored: how many files and folders of which kind are passed over.
    """

    path: str
    images: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def walk(top: Path) -> Iterator[Folder]:
    """Yield a folder and all below it, by name. Links are followed, but never in a circle; no file is opened.

    Hidden files, what systems leave behind, and shard sets are passed over, and counted in the folder that they lie in.

    Raises:
        UserError: a folder cannot be listed.
    """
    return _walk(top, Folder(""), [])


def _walk(top: Path, folder: Folder, around: list[tuple[int, int]]) -> Iterator[Folder]:
    try:
        status = (top / folder.path).stat()
        around = [*around, (status.st_dev, status.st_ino)]
        inner = _sorted(top, folder, around)
    except OSError as error:
        raise UserError(f"{printable(top / folder.path)} cannot be listed ({error.strerror}): make it readable") from None
    yield folder
    for each in inner:
        yield from _walk(top, each, around)


def _sorted(top: Path, folder: Folder, around: list[tuple[int, int]]) -> list[Folder]:
    """Take note of all that lies in a folder, and return the folders there that are walked through."""
    inner: list[Folder] = []
    with os.scandir(top / folder.path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{folder.path}/{entry.name}" if folder.path else entry.name
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                folder.ignored["hidden"] += 1
            elif not _is_folder(entry):
                _sort_in(folder, entry, path)
            elif kind := _passed_over(entry, around):
                folder.ignored[kind] += 1
            else:
                inner.append(Folder(path))
    return inner


def _passed_over(entry: "os.DirEntry[str]", around: list[tuple[int, int]]) -> str | None:
    """Return what a folder is counted under that is not walked through, or None."""
    if entry.name.lower() in OF_SYSTEMS:
        return f"{entry.name} folder"
    status = entry.stat()
    if (status.st_dev, status.st_ino) in around:
        return "link to a folder around it"
    inside = Path(entry.path)
    return "shard set" if (inside / SET).is_file() or all((inside / name).exists() for name in _PACKING) else None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112 (a link to itself is none)


def _is_file(entry: "os.DirEntry[str]") -> bool:
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()  # noqa: PTH113 (as above)


def _sort_in(folder: Folder, entry: "os.DirEntry[str]", path: str) -> None:
    """Take note of what is no folder: of an image, of what only is called like one, or of its kind."""
    ending = extension(printable(entry.name))
    if _is_file(entry) and is_image(entry.name):
        folder.images.append(path)
    elif _is_file(entry):
        kind = f"{ending!r}" if " " in ending else ending or "no extension"
        folder.ignored[SPLIT_LISTS if ending in _LISTS and names_split(entry.name[: -len(ending)]) else kind] += 1
    elif entry.is_symlink() and (is_image(entry.name) or not ending):  # without an extension it may have been a class
        folder.refused.append(Refused(printable(path), "is a link to nothing: mend or remove it"))
    elif is_image(entry.name):
        folder.refused.append(Refused(printable(path), "is not a regular file"))
    else:
        folder.ignored["link to nothing" if entry.is_symlink() else "no regular file"] += 1


def told(ignored: Counter[str]) -> str:
    """Return how many files of which kind were passed over, the most frequent first."""
    most = ignored.most_common(SHOWN)
    more = ignored.total() - sum(count for _, count in most)
    return ", ".join([f"{count:,} {kind}" for kind, count in most] + ([f"{more:,} of other kinds"] if more else []))
