"""What a tar holds, from its headers alone: a scan that trusts nothing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shards.errors import UserError
from shards.files import printable
from shards.formats import what_it_is
from shards.tar import BLOCK, padding

MAX_EXTENDED_HEADER = 1 << 20
_START = 1024  # bytes that tell what a file is which is no tar

_FILES, _FOLDER = b"0\x007", b"5"
_SPARSE = "is a sparse file, of which the tar holds the parts alone: write the tar without --sparse"
_ODD = {
    b"1": "is a hard link in the tar: write the tar with --hard-dereference",
    b"2": "is a symbolic link in the tar: write the tar with --dereference",
    b"S": _SPARSE,
}
_DEVICE = "is a device, a pipe or of an unknown kind: leave it out of the tar"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar.

    Attributes:
        name: as the tar says.
        offset: of its content, in bytes.
        size: of its content, in bytes.
        odd: why its content does not lie there as a whole; "" for a plain file.
    """

    name: str
    offset: int
    size: int
    odd: str = ""


class DamagedTar(UserError):
    """A tar that cannot be read to its end; the files before are whole.

    Attributes:
        reason: what is wrong with it, and the mend; follows the tar's name in messages.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it can be sent from one process to another
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def members(path: Path) -> Iterator[Member]:
    """Yield the files of a tar in their order: ustar, GNU and PAX names; folders are left out.

    Raises:
        DamagedTar: cut off, damaged or no tar, after all files that are whole before.
    """
    with path.open("rb", buffering=0) as file:
        yield from _Scan(path, file.fileno()).members()


class _Scan:
    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.end = os.fstat(descriptor).st_size

    def members(self) -> Iterator[Member]:
        at = 0
        told = _Told()  # of the next file, where an extended header tells
        while (block := self._read(BLOCK, at)) != bytes(BLOCK):
            kind, length = self._check(block, at), self._number(block[124:136], at)
            extends = kind in b"xgLK"
            if told.size is not None and not extends:
                length = told.size
            content = at + BLOCK
            if kind == b"S":
                content = self._after_map(block, content)
            elif kind in _ODD or kind in b"346":
                length = 0  # a link's size is that of what it points to
            at = content + length + padding(length)
            if at > self.end:
                raise self._damaged("is cut off", content)
            if kind in b"xL":
                told = told.also(self._extended(kind, content, length))
            elif not extends and kind != _FOLDER:
                odd = told.odd if kind in _FILES else _ODD.get(kind, _DEVICE)
                yield Member(told.name or self._name(block), content, length, odd)
            if not extends:
                told = _Told()
        self._check_end(at + BLOCK)

    def _after_map(self, block: bytes, at: int) -> int:
        """Return where the content begins behind the map of a sparse file in GNU's old format."""
        more = block[482]
        while more:
            more = self._read(BLOCK, at)[504]
            at += BLOCK
        return at

    def _check_end(self, at: int) -> None:
        rest = self._read(BLOCK, at)
        while rest:
            if rest.strip(b"\0"):
                raise self._damaged("has data after its end mark, as tars joined by `cat` have", at)
            at += len(rest)
            rest = os.pread(self.descriptor, 1 << 20, at)

    def _read(self, size: int, at: int) -> bytes:
        data = os.pread(self.descriptor, size, at)
        if len(data) < size:
            raise self._no_tar() if at == 0 else self._damaged("is cut off", at)
        return data

    def _check(self, block: bytes, at: int) -> bytes:
        digits = block[148:156].strip(b" \0")
        if not digits or digits.strip(b"01234567") or sum(block) - sum(block[148:156]) + 8 * 32 != int(digits, 8):
            raise self._no_tar() if at == 0 and block[257:262] != b"ustar" else self._damaged("has a damaged header", at)
        return block[156:157]

    def _number(self, field: bytes, at: int) -> int:
        if field[0] == 0x80:  # GNU's base 256, for 8 GiB and more
            return int.from_bytes(field[1:], "big")
        digits = field.strip(b" \0")
        if not digits or digits.strip(b"01234567"):
            raise self._damaged("has a damaged header", at)
        return int(digits, 8)

    @staticmethod
    def _name(block: bytes) -> str:
        name, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
        # GNU's own format keeps times where ustar keeps the prefix.
        return _text(prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name)

    def _extended(self, kind: bytes, at: int, length: int) -> "_Told":
        if length > MAX_EXTENDED_HEADER:
            raise self._damaged("has a damaged header", at)
        data = self._read(length, at)
        if kind == b"L":
            return _Told(_text(data.split(b"\0")[0]))
        fields = self._pax(data, at)
        size = fields.get(b"size")
        if size is not None and not size.isdigit():
            raise self._damaged("has a damaged header", at)
        path = fields.get(b"GNU.sparse.name", fields.get(b"path"))
        sparse = any(field.startswith(b"GNU.sparse") for field in fields)
        return _Told(None if path is None else _text(path), None if size is None else int(size[:20]), _SPARSE if sparse else "")

    def _pax(self, data: bytes, at: int) -> dict[bytes, bytes]:
        fields = {}
        while data:
            digits = data[:8].split(b" ")[0]
            length = int(digits) if digits.isdigit() else 0
            field, equals, value = data[len(digits) + 1 : length].partition(b"=")
            if not equals or length > len(data) or not value.endswith(b"\n"):
                raise self._damaged("has a damaged header", at)
            fields[field], data = value[:-1], data[length:]
        return fields

    def _damaged(self, what: str, at: int) -> DamagedTar:
        return DamagedTar(printable(self.path), f"{what} (at byte {at}): fetch or pack it again as a plain tar")

    def _no_tar(self) -> DamagedTar:
        found = what_it_is(os.pread(self.descriptor, _START, 0))
        return DamagedTar(printable(self.path), f"is no tar but {found[0]}: {found[1]}") if found else self._damaged("is no tar", 0)


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")  # what is no UTF-8 is refused with the sample that has it


@dataclass(frozen=True)
class _Told:
    """What extended headers say of the file that follows."""

    name: str | None = None
    size: int | None = None
    odd: str = ""

    def also(self, more: "_Told") -> "_Told":
        return _Told(more.name or self.name, self.size if more.size is None else more.size, more.odd or self.odd)
