"""What the levels of folders are around and in the class folders, and what a folder therefore says of its images."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shards.files import printable
from shards.split_words import split_word

Folder = tuple[str, ...]
Role = Literal["around", "split", "superclass", "class"]
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Placed:
    """What the folder of an image says of it.

    Attributes:
        class_name: name of its class folder.
        split: one of `shards.split_words.WORDS`, or "".
        key: of the folder: the class, then the folder of its split, then those inside the class.
    """

    class_name: str
    split: str
    key: str


@dataclass(frozen=True)
class Layout:
    """What each level of folders is.

    Attributes:
        roles: of the levels from the top, one of them "class"; folders below the last belong to the class.
        folders: of those levels with images in or below them, and how many.
        masks: folders of masks, which are left out, and how many images they hold.
        inner: a folder inside a class folder, or (), and how many images all such hold.
        outside: how many images lie outside the class folders.
    """

    roles: tuple[Role, ...]
    folders: Mapping[Folder, int]
    masks: Mapping[Folder, int]
    inner: tuple[Folder, int]
    outside: int

    @property
    def level(self) -> int:
        """Number of the level of the class folders; 1 is the top."""
        return self.roles.index("class") + 1

    @property
    def plain(self) -> bool:
        """Whether the class folders are at the top, or in a folder `images` there."""
        return self.roles == ("class",) or (self.roles == ("around", "class") and self.names("around") == ["images"])

    def place(self, folder: str) -> Placed | None:
        """Return what a folder, given as `a/b`, says of the images directly in it; None for one outside the classes or of masks."""
        parts = tuple(folder.split("/")) if folder else ()
        if len(parts) < len(self.roles) or self.is_mask(folder):
            return None
        class_name = parts[self.level - 1]
        of_split = [part for role, part in zip(self.roles, parts, strict=False) if role == "split"]
        split = split_word(of_split[0]) or "" if of_split else ""
        return Placed(class_name, split, "/".join((class_name, *of_split, *parts[len(self.roles) :])))

    def is_mask(self, folder: str) -> bool:
        """Tell whether a folder, given as `a/b`, is one of masks or lies in one."""
        parts = folder.split("/")
        return bool(self.masks) and any(tuple(parts[:depth]) in self.masks for depth in range(1, len(parts) + 1))

    def names(self, role: Role) -> list[str]:
        """Return the names of all folders with a role."""
        return sorted({folder[-1] for folder in self.folders if self.roles[len(folder) - 1] == role})

    def superclasses(self) -> dict[str, list[str]]:
        """Return the classes of each super-class, joined by `/` where these have several levels; empty where there are none."""
        if "superclass" not in self.roles:
            return {}
        of: dict[str, set[str]] = {}
        for folder in self.folders:
            if len(folder) == self.level:
                above = (part for role, part in zip(self.roles, folder, strict=False) if role == "superclass")
                of.setdefault("/".join(above), set()).add(folder[-1])
        return {name: sorted(classes) for name, classes in sorted(of.items())}

    def facts(self) -> dict[str, Any]:
        """Return what was taken, for the record of how a set was made; empty for plain class folders."""
        if self.plain:
            return {}
        return {"levels": list(self.roles), "splits": self.names("split"), "superclasses": self.superclasses()}

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each thing that is not as in plain class folders."""
        if not self.plain:
            taken = {"split": "splits are", "superclass": "super-classes, kept in made.json, are"}
            others = "".join(f"; {said} {listed(self.names(role))}" for role, said in taken.items() if role in self.roles)
            pattern = "/".join(map(self._shown, range(len(self.roles))))
            yield (
                f"{len(self.names('class'))} classes are taken from level {self.level} of the folders, {pattern}{others} "
                "(--level takes another)"
            )
        if self.masks:
            yield f"left out as masks: {sum(self.masks.values()):,} images in {shown(*self.masks)}"
        if self.outside:
            yield f"left out because they lie outside the class folders: {self.outside:,} images"
        if self.inner[1]:
            yield f"folders inside class folders belong to the class: {self.inner[1]:,} images, as in {shown(self.inner[0])}"

    def _shown(self, place: int) -> str:
        names = {folder[-1] for folder in self.folders if len(folder) == place + 1}
        return printable(names.pop()) if self.roles[place] == "around" and len(names) == 1 else f"<{self.roles[place]}>"


def listed(names: Iterable[str]) -> str:
    """Return the first few of the names, and how many more there are."""
    every = [printable(name) for name in dict.fromkeys(names)]
    return ", ".join(every[:SHOWN]) + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")


def shown(*folders: Folder) -> str:
    """Return folders for a message, as `a/b/`."""
    return listed("/".join(folder) + "/" for folder in sorted(folders))
