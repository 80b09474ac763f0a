"""The samples of WebDataset tars: which members belong together, and what class they say they are."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern

from shards.files import printable
from shards.sources.records import OTHER_FORMATS, Ignored, Refused, is_image
from shards.sources.sidecars import CLASS_FIELDS, read_sidecars
from shards.sources.walk import OF_SYSTEMS
from shards.tarscan import DamagedTar, Member, members

SIDECARS = (".cls", ".json")
OF_IMAGES = ".cls and .json of images"  # the kind of the files that were read for an image
_BASE_DOT = re.compile(r"^((?:.*/)?[^/.]+)(\.[^/]*)$", re.DOTALL)
_SCENES = re.compile(r"[\d._-]*")


@dataclass(frozen=True, slots=True)
class Sample:
    """An image in a tar and what its neighbours say of it.

    Attributes:
        key: as WebDataset's clients know it; where several images share that one, `name`.
        name: unique in its tar: the image's path without its ending, the base name's dots percent-escaped.
        class_text: what its .cls file or its JSON says that it is, or "".
        split: from its JSON, or "".
        image: where the image lies.
        told_by: endings of the files that tell of it.
    """

    key: str
    name: str
    class_text: str
    split: str
    image: Member
    told_by: frozenset[str]

    @property
    def folder(self) -> str:
        """The folders of the key, or ""."""
        return self.key.rpartition("/")[0]


def samples(path: Path) -> Iterator[Sample | Refused | Ignored]:
    """Yield what is in a tar, each member once, in the order of the samples' first members.

    The members of a sample need not lie together; of two with one name the later counts, as for `tar`.

    Raises:
        DamagedTar: the tar cannot be read to its end, after the samples before.
    """
    held = _Held(path)
    yield from held.found
    with path.open("rb", buffering=0) as file:
        for key, parts in held.groups.items():
            if held.damage and key == held.last:
                yield Refused(held.named(key), "may have lost members where its tar is damaged")
            else:
                yield from _of_key(held, file.fileno(), key, parts)
    if held.damage:
        raise held.damage


@dataclass
class _Held:
    """The members of a tar by key and by what follows the key in their names; a few hundred bytes each."""

    path: Path
    groups: dict[str, dict[str, Member]] = field(default_factory=dict)
    found: list[Refused | Ignored] = field(default_factory=list)
    damage: DamagedTar | None = None
    last: str = ""

    def __post_init__(self) -> None:
        try:
            for member in members(self.path):
                self._add(member)
        except DamagedTar as error:
            self.damage = error

    def _add(self, member: Member) -> None:
        name = member.name
        while name.startswith("./"):
            name = name[2:]
        if any(_hidden(part) for part in name.split("/")):
            self.found.append(Ignored("hidden", self.named(name)))
            return
        match = _BASE_DOT.match(name)
        self.last, rest = (match[1], intern(match[2])) if match else (name, "")
        parts = self.groups.setdefault(self.last, {})
        if rest in parts:
            self.found.append(Refused(self.named(name), "is in the tar again, and the later one counts, as for `tar`"))
        parts[rest] = member

    def named(self, name: str) -> str:
        """Return what a key or member is called in messages."""
        return f"{printable(self.path.name)}: {printable(name)}"


def _hidden(part: str) -> bool:
    return (part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" or part.lower() in OF_SYSTEMS


def _of_key(held: _Held, descriptor: int, key: str, parts: Mapping[str, Member]) -> Iterator[Sample | Refused | Ignored]:
    """Yield the samples of a WebDataset key, and what else has that key."""
    images = {rest: member for rest, member in parts.items() if is_image(rest)}
    told = {rest.lower(): member for rest, member in parts.items() if rest.lower().endswith(SIDECARS)}
    stems = {rest: rest[: -len(_ending(rest))] for rest in images}
    clear = len(images) == 1 or _are_scenes(stems, told)
    used: set[int] = set()
    for rest, image in images.items():
        name = held.named(key + rest)
        own = _own(stems[rest], set(stems.values()), told)
        used |= {member.offset for member in own.values()}
        if image.odd:
            yield Refused(name, image.odd)
        elif not clear:
            others = ", ".join(printable(key.rpartition("/")[2] + other) for other in images)
            yield Refused(
                name, f"is one of several images of one key ({others}): leave one in the tar, or pack a folder of the scenes"
            )
        else:
            unique = key + stems[rest].replace(".", "%2E")
            yield _sample(name, descriptor, key if len(images) == 1 else unique, unique, image, own)
    for rest, member in parts.items():
        if rest not in images:
            yield _other(held, key + rest, rest, member, bool(images), member.offset in used)


def _ending(rest: str) -> str:
    return rest[rest.rfind(".") :].lower() if rest else ""


def _are_scenes(stems: Mapping[str, str], told: Collection[str]) -> bool:
    """Tell whether the images of a key are scenes whose names have dots, and not bands or masks of one scene.

    They are where each has its own .cls or .json file; or where numbers alone tell them apart and they have one format.
    """
    if len(set(stems.values())) < len(stems):
        return False
    if all(any(stem.lower() + ending in told for ending in SIDECARS) for stem in stems.values()):
        return True
    return all(_SCENES.fullmatch(stem) for stem in stems.values()) and len({_ending(rest) for rest in stems}) == 1


def _own(stem: str, stems: Collection[str], told: Mapping[str, Member]) -> dict[str, Member]:
    """Return the .cls and .json file that tell of an image; that of the key where it has none, unless this is another image's."""
    own = {ending: told[stem.lower() + ending] for ending in SIDECARS if stem.lower() + ending in told}
    shared = {} if "" in stems else {ending: told[ending] for ending in SIDECARS if ending in told}
    return shared | own


def _sample(name: str, descriptor: int, key: str, unique: str, image: Member, own: Mapping[str, Member]) -> Sample | Refused:
    try:
        said = read_sidecars(descriptor, own.get(".cls"), own.get(".json"))
    except ValueError as error:
        return Refused(name, str(error))
    if not said.class_text and "/" not in key:
        fields = ", ".join(CLASS_FIELDS)
        return Refused(name, f"has no class: neither a .cls file, nor a .json file with one of {fields}, nor a folder: write one")
    return Sample(key, unique, said.class_text, said.split, image, frozenset(own))


def _other(held: _Held, name: str, rest: str, member: Member, beside_image: bool, used: bool) -> Refused | Ignored:
    ending = _ending(rest)
    if used:
        return Ignored(OF_IMAGES, held.named(name))
    if ending in OTHER_FORMATS and not beside_image:
        return Refused(held.named(name), f"is in a format that is not read ({ending}): convert it to PNG")
    if ending in SIDECARS:
        return Ignored(f"{ending} of no image", held.named(name))
    return Ignored("links and devices" if member.odd else ending or "no extension", held.named(name))
