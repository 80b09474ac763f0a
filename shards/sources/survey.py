"""What the samples of a WebDataset say together: what their classes are called, and what their folders tell."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shards.errors import UserError
from shards.sources.class_names import ClassNames
from shards.sources.layout import Layout, Placed
from shards.sources.levels import find_layout
from shards.sources.sidecars import is_number
from shards.split_words import split_word


@dataclass(frozen=True)
class Places:
    """What a sample's class text and folder mean.

    Attributes:
        names: of the classes that are told by texts, in the order of the labels.
        layout: what the folders are, where samples tell their class by them alone.
        split_level: the level of folders of which each is a split, where there is one.
        notes: sentences on what was taken.
    """

    names: Mapping[str, str]
    layout: Layout | None
    split_level: int | None
    notes: tuple[str, ...]

    def of(self, class_text: str, folder: str) -> Placed | None:
        """Return what a sample's class text, or "", and its folder say of it; None where the folder is none of a class."""
        if not class_text:
            return self.layout.place(folder) if self.layout else None
        name = self.names[class_text]
        inner = folder if folder == name else folder.removeprefix(f"{name}/")
        return Placed(name, self.split_of(folder), name if inner in ("", name) else f"{name}/{inner}")

    def is_mask(self, folder: str) -> bool:
        """Tell whether a folder is one of masks."""
        return self.layout is not None and self.layout.is_mask(folder)

    def split_of(self, folder: str) -> str:
        """Return the split that a folder tells, or ""."""
        placed = self.layout.place(folder) if self.layout else None
        if placed or self.split_level is None:
            return placed.split if placed else ""
        return split_word(folder.split("/")[self.split_level]) or ""


class Survey:
    """Learns from all samples of a set."""

    def __init__(self) -> None:
        self.classes = ClassNames()
        self._told: Counter[str] = Counter()  # folders of the samples whose class is told by a text
        self._placed: Counter[str] = Counter()  # and of the others

    def add(self, class_text: str, folder: str, count: int = 1) -> None:
        """Take note of samples that say the same."""
        if class_text:
            self.classes.add(class_text, folder, count)
        (self._told if class_text else self._placed)[folder] += count

    def places(self, where: str, *, level: int | None = None, gaps: bool = True) -> Places:
        """Return what texts and folders mean.

        Args:
            where: the set, for messages.
            level: of the class folders, if the user says it.
            gaps: as for `ClassNames.names`.

        Raises:
            UserError: classes and folders contradict one another, or the class folders cannot be found.
        """
        names = self.classes.names(gaps=gaps)
        layout = self._layout(where, level)
        if layout and any(is_number(text) and (text == name or not gaps) for text, name in names.items()):
            raise UserError(
                f"{where} tells the class of {self._told.total():,} images by a number, such as {next(iter(names))}, and that of "
                f"{self._placed.total():,} by a folder alone: give all images a .cls file"
            )
        split_level = self._split_level()
        return Places(names, layout, split_level, tuple(self._notes(layout, split_level)))

    def _layout(self, where: str, level: int | None) -> Layout | None:
        if not self._placed:
            return None
        folders = self._placed + Counter({folder: count for folder, count in self._told.items() if folder})
        return find_layout(folders, where, level)

    def _split_level(self) -> int | None:
        paths = [folder.split("/") for folder in self._told]
        depth = min(map(len, paths), default=0)
        return next((level for level in range(depth) if all(split_word(path[level]) for path in paths)), None)

    def _notes(self, layout: Layout | None, split_level: int | None) -> Iterator[str]:
        if layout:
            yield from layout.notes()
        if split_level is not None:
            words = sorted({folder.split("/")[split_level] for folder in self._told})
            yield f"splits are taken from the folders in the tars: {', '.join(words)}"
