"""Images in class folders: DATA/images/<Class>/.../*.jpg, or the same without `images`."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shards.errors import UserError
from shards.files import printable
from shards.sources.records import Found, Ignored, Record, Refused, extension, file_key, is_image, refusal


@dataclass(frozen=True)
class ClassFolders:
    """One folder a class; deeper folders belong to the class of the first. Hidden files are ignored."""

    root: Path
    kind: str = "class folders"

    def records(self) -> Iterator[Found]:
        """Yield all files in the order of their names.

        Raises:
            UserError: there is no class folder, or one has no image.
        """
        classes = [name for name in _names(self.root) if not _hidden(name) and (self.root / name).is_dir()]
        if not classes:
            raise UserError(f"{self.root} has no class folders: give a folder with one folder of images a class")
        yield from (Ignored("outside a class folder") for name in _names(self.root) if name not in classes)
        for name in classes:
            images = 0
            for found in self._below(name, name, ()):
                images += not isinstance(found, Ignored)
                yield found
            if not images:
                raise UserError(f"{printable(self.root / name)} has no JPEG, PNG or TIFF image: add some, or remove the folder")

    def _below(self, class_name: str, folder: str, parents: tuple[tuple[int, int], ...]) -> Iterator[Found]:
        status = (self.root / folder).stat()
        here = (status.st_dev, status.st_ino)
        if here in parents:  # a symbolic link to a folder around it
            return
        for name in _names(self.root / folder):
            path = f"{folder}/{name}"
            if _hidden(name):
                yield Ignored("hidden")
            elif (self.root / path).is_dir():
                yield from self._below(class_name, path, (*parents, here))
            else:
                yield file_record(self.root, path, class_name, "")


def file_record(root: Path, path: str, class_name: str, split: str) -> Found:
    """Return the record of an image file at `path` below `root`."""
    name = printable(path)
    if not is_image(path):
        return Ignored(extension(name) or "no extension")
    key = file_key(class_name, path)
    try:
        status = (root / path).stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        return Refused(name, f"cannot be read ({getattr(error, 'strerror', error)})")
    if not stat.S_ISREG(status.st_mode):
        return Refused(name, "is not a regular file")
    if reason := refusal(key, class_name, split, status.st_size):
        return Refused(name, reason)
    return Record(key, class_name, split, path, 0, status.st_size, extension(path), status.st_mtime_ns)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (names only: a Path for each of a million files costs)
    except OSError as error:
        raise UserError(f"{printable(folder)} cannot be listed ({error.strerror}): make it readable") from None


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
