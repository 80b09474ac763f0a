"""Which level of folders the classes are, found from where images lie.

Above the classes may be folders that hold all (`UCMerced_LandUse/Images/<class>`), splits (`train/<class>`) and super-classes
(`water area/<class>`); below them splits (`<class>/train`) and folders that mean nothing (`<class>/2019`). What could be read in
two ways is refused, since a wrong guess would train on the wrong classes without a word.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from shards.errors import UserError
from shards.files import printable
from shards.names import alias
from shards.sources.layout import Folder, Layout, Role, listed, shown
from shards.split_words import WORDS, names_split, split_word

IMAGES = frozenset({"image", "images", "img", "imgs", "jpegimages", "rgb"})
MASKS = frozenset({"label", "labels", "mask", "masks", "annotation", "annotations", "gt", "groundtruth", "segmentation"})

_TABLE = "put each class's images into a folder of its own, or list them in a CSV table with the columns path and class"


def find_layout(folders: Mapping[str, int], where: str, level: int | None = None) -> Layout:
    """Find out what the levels of folders are.

    Args:
        folders: how many images lie directly in each folder, given by its path `a/b` below the top, which is "".
        where: the top, for messages.
        level: of the class folders, where the user says it; 1 is the top.

    Raises:
        UserError: there are no class folders, only one, or they can be found in two ways.
    """
    tree = _Tree(folders, where)
    roles: list[Role] = []
    tops: list[Folder] = [()]
    while "class" not in roles:
        below = tree.below(tops)
        if not below:
            _refuse_flat(tree, level)
        roles.append(_role(tree, tops, below, roles, level))
        tops = below
    if "split" not in roles and _splits_inside(tree, tops):
        roles.append("split")
    layout = tree.layout(tuple(roles))
    _check(layout, tree, level)
    return layout


class _Tree:
    """Folders with images in or below them."""

    def __init__(self, folders: Mapping[str, int], where: str) -> None:
        self.where = where
        self.direct = Counter({tuple(name.split("/")) if name else (): count for name, count in folders.items() if count})
        self.children: dict[Folder, set[str]] = {}
        for folder in self.direct:
            for depth in range(len(folder), 0, -1):
                names = self.children.setdefault(folder[: depth - 1], set())
                if folder[depth - 1] in names:
                    break
                names.add(folder[depth - 1])
        self.masks: Counter[Folder] = Counter()
        self._leave_out_masks()

    def _leave_out_masks(self) -> None:
        for folder, names in self.children.items():
            if any(_words(name) & IMAGES for name in names):
                masks = {name for name in names if _words(name) & MASKS and not _words(name) & IMAGES}
                names.difference_update(masks)
                self.masks.update(dict.fromkeys([(*folder, name) for name in masks], 0))
        if self.masks:
            for folder in list(self.direct):
                outer = next((folder[:depth] for depth in range(1, len(folder) + 1) if folder[:depth] in self.masks), None)
                if outer:
                    self.masks[outer] += self.direct.pop(folder)

    def below(self, tops: Sequence[Folder]) -> list[Folder]:
        """Return the folders directly in any of `tops`."""
        return [(*top, name) for top in tops for name in sorted(self.children.get(top, ()))]

    def layout(self, roles: tuple[Role, ...]) -> Layout:
        """Count the images of each folder as those levels have it."""
        images: Counter[Folder] = Counter()
        inner: Folder = ()
        deeper = outside = 0
        for folder, count in self.direct.items():
            for depth in range(1, min(len(folder), len(roles)) + 1):
                images[folder[:depth]] += count
            if len(folder) < len(roles):
                outside += count
            elif len(folder) > len(roles):
                inner, deeper = min(inner or folder, folder), deeper + count
        return Layout(roles, images, self.masks, (inner, deeper), outside)

    def refuse(self, found: str, mend: str) -> NoReturn:
        """Raise a UserError that says what was found, and how to mend it."""
        raise UserError(f"{self.where} {printable(found)}: {mend}")


def _role(tree: _Tree, tops: Sequence[Folder], below: Sequence[Folder], roles: Sequence[Role], level: int | None) -> Role:
    names = sorted({folder[-1] for folder in below})
    words, inside = {split_word(name) or None for name in names}, tree.below(below)  # a member `/a/1.jpg` lies in a folder ""
    if level == len(roles) + 1:
        return "class"
    if None not in words:
        return _split(tree, below, roles, has_classes=bool(inside or level))
    if len(words - {None}) > 1:
        _refuse_beside(tree, names, f"leave only splits side by side, or say --level {len(roles) + 1} if these are classes")
    if level:
        return "around" if len(names) == 1 else "superclass"
    if not inside and all(map(names_split, names)):
        called = f"call them {', '.join(WORDS[:-1])} with the class folders in them, or say --level {len(roles) + 1}"
        tree.refuse(f"has images in {shown(*below)}, which are called like splits", f"{called} if these are classes")
    if inside and all(len(tree.children.get(top, ())) <= 1 for top in tops):
        filled = [folder for folder in below if tree.direct[folder] and alias(folder[-1]) not in IMAGES]
        if filled and not all(split_word(folder[-1]) for folder in inside):
            _refuse_two_ways(tree, below, inside, f"has images in {shown(*filled)} and in folders there")
        return "around"
    if len(names) > 1 and any(alias(name) in IMAGES for name in names):
        tree.refuse(f"has {listed(names)} side by side", "give the folder of the class folders itself")
    role = _class_or_super(tree, below, inside)
    if role == "superclass" and words != {None}:
        mend = f"call every one of them {', '.join(WORDS[:-1])}, or say --level {len(roles) + 2} if they are super-classes"
        _refuse_beside(tree, names, mend)
    return role


def _split(tree: _Tree, below: Sequence[Folder], roles: Sequence[Role], *, has_classes: bool) -> Role:
    """Take folders that are all called splits for splits, and for folders around the classes within the split of that name."""
    if "split" in roles:
        outer = roles.index("split")
        if differing := [folder for folder in below if split_word(folder[-1]) != split_word(folder[outer])]:
            tree.refuse(f"has splits in splits, {shown(*differing)}", "give each image one split")
        return "around"
    if not has_classes:
        tree.refuse(f"has images in {shown(*below)} and no class folders there", _TABLE)
    return "split"


def _refuse_beside(tree: _Tree, names: Sequence[str], mend: str) -> NoReturn:
    splits, others = (listed(name for name in names if bool(split_word(name)) is known) for known in (True, False))
    tree.refuse(f"has {splits} beside {others}", mend)


def _class_or_super(tree: _Tree, below: Sequence[Folder], inside: Sequence[Folder]) -> Role:
    """Tell class folders, with or without folders of their own, from super-classes."""
    if all(split_word(folder[-1]) for folder in inside):
        return "class"
    filled = [folder for folder in below if tree.direct[folder]]
    bare = sorted(set(below) - set(filled))
    # Where no folder in a split or super-class has images, its classes may lie deeper than those of the others.
    deeper = {folder[:-1] for folder in bare} - {folder[:-1] for folder in filled}
    uneven = any(len(_stems(tree.below([folder]))) > 1 for folder in bare if folder[:-1] in deeper)
    if 2 * len(filled) >= len(below) and not uneven:
        return "class"
    if filled:
        _refuse_two_ways(tree, below, inside, f"has images in {shown(*filled)}, but none in {shown(*bare)}")
    stems = _stems(inside)
    if len(stems) == 1:
        return "class"
    # The same folder in two splits is one.
    pairs = {(alias(folder[-2]), alias(folder[-1])) for folder in inside}
    outer = Counter(outer for outer, _ in pairs)
    unique = len({name for _, name in pairs}) == len(pairs) < 2 * len(stems)
    if unique and 2 * sum(count > 1 for count in outer.values()) >= len(outer):
        return "superclass"
    return _refuse_two_ways(tree, below, inside, "has folders in folders")


def _stems(folders: Sequence[Folder]) -> set[str]:
    """Return what tells folders apart; the same for all that name no class: years, numbers, `images`, splits."""
    pairs = {(alias(folder[-2]), alias(folder[-1])) for folder in folders if not split_word(folder[-1])}
    return {re.sub(r"\d+|_", "", name.removeprefix(outer)) for outer, name in pairs}


def _refuse_two_ways(tree: _Tree, below: Sequence[Folder], inside: Sequence[Folder], found: str) -> NoReturn:
    levels = [below, inside]
    while deeper := tree.below(levels[-1]):
        levels.append(deeper)
    options = [f"--level {number}" for number, _ in enumerate(levels, len(below[0]))]
    tree.refuse(
        f"{found}, so the classes can be {' or '.join(shown(*each) for each in levels)}", f"say which with {' or '.join(options)}"
    )


def _splits_inside(tree: _Tree, classes: Sequence[Folder]) -> bool:
    """Tell whether the class folders have splits in them, and nothing else."""
    inside = tree.below(classes)
    called = {folder for folder in inside if split_word(folder[-1])}
    others = {folder for folder in classes if tree.direct[folder]} | set(inside) - called
    if called and others:
        tree.refuse(
            f"has folders of splits in class folders, {shown(*called)}, and images beside them in {shown(*others)}",
            "give every image a split, or rename these folders",
        )
    return bool(called)


def _check(layout: Layout, tree: _Tree, level: int | None) -> None:
    of: dict[str, set[Folder]] = {}
    for folder in layout.folders:
        if len(folder) == layout.level:
            above = tuple(part for role, part in zip(layout.roles, folder, strict=False) if role == "superclass")
            of.setdefault(folder[-1], set()).add(above)
    if twice := [name for name, above in of.items() if len(above) > 1]:
        both = listed("/".join((*above, twice[0])) for above in sorted(of[twice[0]]))
        tree.refuse(
            f"has the class {twice[0]!r} in several super-classes, {both}",
            "rename one, or call the folders train, val or test if they are splits",
        )
    if level is None and len(of) == 1:
        tree.refuse(f"has one class only, {next(iter(of))!r}, at level {layout.level} of its folders", f"{_TABLE}, or say --level")
    inside = sum(count for folder, count in layout.folders.items() if len(folder) == len(layout.roles))
    if level is None and layout.outside > inside:
        tree.refuse(f"has {layout.outside:,} images outside class folders and {inside:,} in them", f"{_TABLE}, or say --level")


def _refuse_flat(tree: _Tree, level: int | None) -> NoReturn:
    count = tree.direct.total()
    if level and count:
        deepest = max(map(len, tree.direct))
        tree.refuse(
            f"has images in folders down to level {deepest} and none at level {level}", f"give --level 1 to {max(deepest, 1)}"
        )
    tree.refuse(f"has no class folders{f', and {count:,} images outside any' if count else ''}", _TABLE)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower())) | {alias(name)}
