"""Images in class folders, at whatever level of the folders these are; see `shards.sources.levels`."""

import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shards.errors import UserError
from shards.files import printable
from shards.image_checks import EXTENSIONS
from shards.sources.layout import Layout
from shards.sources.levels import find_layout
from shards.sources.records import (
    ARCHIVES,
    OTHER_FORMATS,
    Found,
    Ignored,
    Note,
    Record,
    Refused,
    file_key,
    image_extension,
    is_image,
    refusal,
)
from shards.sources.walk import SPLIT_LISTS, Folder, told, walk


@dataclass(frozen=True)
class ClassFolders:
    """One folder a class.

    Attributes:
        root: the folder that they are in or below.
        level: of the class folders, 1 for those directly in `root`; None finds it.
    """

    root: Path
    level: int | None = None
    kind: str = "class folders"

    @property
    def given(self) -> Path:
        """The folder."""
        return self.root

    def records(self) -> Iterator[Found]:
        """Yield all files, folder by folder in the order of their names.

        Raises:
            UserError: class folders cannot be found, or one has no image.
        """
        images: dict[str, int] = {}
        ignored: dict[str, Counter[str]] = {}
        for folder in walk(self.root):
            images[folder.path] = len(folder.images) + len(folder.refused)
            ignored[folder.path] = folder.ignored
        if not any(images.values()):
            kinds = told(sum(ignored.values(), Counter[str]()))
            only = f", only {kinds}" if kinds else ""
            raise UserError(f"{printable(self.root)} has no JPEG, PNG or TIFF image{only}: give a folder with class folders")
        every = sum(ignored.values(), Counter[str]())
        try:
            layout = find_layout(images, printable(self.root), self.level)
        except UserError as error:  # it may be that only for these
            unread = _only(OTHER_FORMATS | ARCHIVES, every)
            raise UserError(f"{error}{f'; not read are {told(unread)}' if unread else ''}") from None
        for number, text in enumerate(layout.notes()):
            yield Note(text, {"layout": layout.facts()} if number == 0 and layout.facts() else {})
        if lost := _lost(self._classes(layout, images, ignored)):
            yield Note(lost)
        if archives := _only(ARCHIVES, every):
            yield Note(f"archives are not read: {told(archives)}: unpack those that hold images, or move them away")
        if lists := every[SPLIT_LISTS]:
            mend = "list the images in a CSV table with the columns path, class and split to keep their splits"
            yield Note(f"{lists:,} files beside the images are called like lists of splits, and are not read: {mend}")
        for folder in walk(self.root):
            yield from self._found(folder, layout)

    def _classes(
        self, layout: Layout, images: Mapping[str, int], ignored: Mapping[str, Counter[str]]
    ) -> dict[str, tuple[int, Counter[str]]]:
        """Return how many images each class has, and what is passed over in its folders.

        Raises:
            UserError: a class has no image.
        """
        classes: dict[str, tuple[int, Counter[str]]] = {}
        folder_of: dict[str, str] = {}
        for path, count in images.items():
            parts = tuple(path.split("/")) if path else ()
            above = parts[: layout.level - 1]
            if len(parts) >= layout.level and (not above or above in layout.folders):
                name = parts[layout.level - 1]
                folder_of.setdefault(name, "/".join((*above, name)))
                before, kinds = classes.get(name, (0, Counter[str]()))
                classes[name] = before + count, kinds + ignored[path]
        for name, (count, kinds) in classes.items():
            if not count:
                only = f", only {told(kinds)}" if kinds else ""
                mend = "convert them to PNG" if OTHER_FORMATS & kinds.keys() else "add some"
                folder = printable(self.root / folder_of[name])
                raise UserError(f"{folder} has no JPEG, PNG or TIFF image{only}: {mend}, or remove the folder")
        return classes

    def _found(self, folder: Folder, layout: Layout) -> Iterator[Found]:
        placed = layout.place(folder.path)
        if placed is None:
            kind = "mask" if layout.is_mask(folder.path) else "outside a class folder"
            yield from (Ignored(kind) for _ in range(len(folder.images) + len(folder.refused) + folder.ignored.total()))
            return
        yield from map(Ignored, folder.ignored.elements())
        yield from folder.refused
        for path in folder.images:
            yield file_record(self.root, path, placed.class_name, placed.split, placed.key)


def _lost(classes: Mapping[str, tuple[int, Counter[str]]]) -> str:
    """Return a sentence on the images in formats that are not read, and the class that loses most by it; "" for none."""
    lost = {name: _only(OTHER_FORMATS, kinds) for name, (_, kinds) in classes.items()}
    every = sum(lost.values(), Counter[str]())
    if not every:
        return ""
    worst = max(lost, key=lambda name: lost[name].total() / classes[name][0])
    which = f"{printable(worst)!r} loses {lost[worst].total():,} and keeps {classes[worst][0]:,}"
    return f"left out because these formats are not read: {told(every)}; of all classes {which}: convert them to PNG to keep them"


def _only(chosen: Collection[str], kinds: Counter[str]) -> Counter[str]:
    return Counter({kind: count for kind, count in kinds.items() if kind in chosen})


def file_record(root: Path, path: str, class_name: str, split: str, folder: str | None = None) -> Found:
    """Return the record of an image file at `path` below `root`; `folder` is its key's, by default the class and the path's."""
    name = printable(path)
    if not is_image(path):
        return Refused(name, f"is not called as an image ({', '.join(EXTENSIONS)}): rename or convert it")
    if folder is None:
        folder = "/".join((class_name, *path.removeprefix(f"{class_name}/").split("/")[:-1]))
    key = file_key(folder, path)
    try:
        status = (root / path).stat()
    except FileNotFoundError:
        return Refused(name, f"cannot be read, since it is not in {printable(root)}: correct its path, its case too")
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        return Refused(name, f"cannot be read ({getattr(error, 'strerror', error)})")
    if not stat.S_ISREG(status.st_mode):
        return Refused(name, "is not a regular file")
    if reason := refusal(key, class_name, split, status.st_size):
        return Refused(name, reason)
    return Record(key, class_name, split, path, 0, status.st_size, image_extension(path), status.st_mtime_ns)
