"""Image file directories: the tags of a TIFF, and of EXIF data, which are built like one.

Sources: TIFF 6.0 (Adobe, 1992); BigTIFF (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PAGES = 1000
ORIENTATION = 274
# More than any writer needs: a few bytes cannot make us read for long.
_MAX_ENTRIES, _MAX_VALUES, _MAX_TEXT = 4096, 32, 1 << 16
_BIG = 43
# How many bytes there are before the place of the first directory; codes of counts, entries and places.
_LAYOUTS = {False: (4, "H", "HHI4s", "I"), True: (8, "Q", "HHQ8s", "Q")}
_TEXT, _INTEGERS = 2, {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


class Damaged(ValueError):
    """A directory that is cut off or makes no sense."""


@dataclass(frozen=True)
class Directory:
    """The tags of one page; `entries` are type, number of values, and the values or their place, by tag."""

    data: bytes
    order: str
    entries: dict[int, tuple[int, int, bytes]]

    def get(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the first values of a tag, or the default where there is none, or none of whole numbers.

        Raises:
            Damaged: the values lie outside the file.
        """
        kind, count, raw = self.entries.get(tag, (0, 0, b""))
        if kind not in _INTEGERS or not count:
            return default
        code = _INTEGERS[kind]
        data, place = self._place(raw, struct.calcsize(f"{self.order}{code}") * count)
        return _unpack(f"{self.order}{min(count, _MAX_VALUES)}{code}", data, place)

    def text(self, tag: int) -> bytes:
        """Return the beginning of a tag of text; empty where there is none."""
        kind, count, raw = self.entries.get(tag, (0, 0, b""))
        data, place = self._place(raw, count)
        return data[place : place + min(count, _MAX_TEXT)] if kind == _TEXT else b""

    def _place(self, raw: bytes, size: int) -> tuple[bytes, int]:
        return (raw, 0) if size <= len(raw) else (self.data, int.from_bytes(raw, "little" if self.order == "<" else "big"))


def directories(data: bytes) -> Iterator[Directory]:
    """Yield the directories of the chain, at most MAX_PAGES.

    Raises:
        Damaged: one is cut off or makes no sense.
    """
    order = "<" if data[:2] == b"II" else ">"
    first, count_code, entry_code, place_code = _LAYOUTS[_BIG in data[2:4]]
    (place,) = _unpack(order + place_code, data, first)
    seen: set[int] = set()
    while place and place not in seen and len(seen) < MAX_PAGES:
        seen.add(place)
        (count,) = _unpack(order + count_code, data, place)
        start = place + struct.calcsize(order + count_code)
        end = start + count * struct.calcsize(order + entry_code)
        if count > _MAX_ENTRIES or end > len(data):
            raise Damaged("a directory is cut off or too long")
        entries = struct.iter_unpack(order + entry_code, data[start:end])
        yield Directory(data, order, {tag: (kind, number, raw) for tag, kind, number, raw in entries})
        (place,) = _unpack(order + place_code, data, end)


def orientation(exif: bytes) -> int:
    """Return the orientation that EXIF data tell, 1 to 8; 1 where they tell none, or nothing that makes sense."""
    try:
        told = next(directories(exif)).get(ORIENTATION, (1,))[0]
    except (Damaged, StopIteration):
        return 1
    return told if 1 <= told <= 8 else 1


def _unpack(code: str, data: bytes, place: int) -> tuple[int, ...]:
    if place + struct.calcsize(code) > len(data):
        raise Damaged("something lies outside the file")
    return struct.unpack_from(code, data, place)
