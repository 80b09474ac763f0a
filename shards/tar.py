"""Tar files: an own ustar writer that knows every offset, and a header scan that trusts nothing."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shards.errors import UserError
from shards.files import printable, sync

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_EXTENDED_HEADER = 1 << 20


def _template() -> bytes:
    # Owner, group and time are 0 so that the same images always give the same bytes.
    fields = [bytes(100), b"0000644\0", b"0000000\0", b"0000000\0", bytes(12), b"00000000000\0", b" " * 8, b"0", bytes(100)]
    return b"".join([*fields, b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", bytes(167)])


_TEMPLATE = _template()


def split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """Divide a member name into ustar's prefix (at most 155 bytes) and name (at most 100), or None if it does not fit."""
    if len(name) <= 100:
        return b"", name
    slash = name.rfind(b"/", 0, 156)
    return (name[:slash], name[slash + 1 :]) if slash > 0 and len(name) - slash - 1 <= 100 else None


def padding(size: int) -> int:
    """Return how many bytes follow `size` bytes of content up to the next block."""
    return -size % BLOCK


def header(name: str, size: int) -> bytes:
    """Return the ustar header of a file of `size` bytes; the name must fit."""
    parts = split_name(name.encode())
    assert parts is not None, name
    prefix, base = parts
    block = bytearray(_TEMPLATE)
    block[: len(base)] = base
    block[124:135] = b"%011o" % size
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class TarWriter:
    """Writes a ustar file under a temporary name; it takes its place, on the disk, when the block ends well.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._beside = path.with_name(path.name + ".tmp")
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        self._file = self._beside.open("wb", buffering=1 << 20)
        return self

    def add(self, members: list[tuple[str, bytes]]) -> int:
        """Write files, and return the offset of the first one's content."""
        parts = []
        for name, content in members:
            parts += [header(name, len(content)), content, bytes(padding(len(content)))]
        content_at = self.size + BLOCK
        self._write(b"".join(parts))
        return content_at

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Sha256 of all bytes written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write(END)
        self._file.close()
        if kind is None:
            sync(self._beside)
            self._beside.replace(self.path)
            sync(self.path.parent)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: its name, and where its content lies, in bytes."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """Yield the files of a tar from its headers alone: ustar, GNU and PAX names; folders are left out.

    Raises:
        UserError: truncated, damaged, compressed, or with links or sparse files.
    """
    with path.open("rb", buffering=0) as file:
        yield from _Scan(path, file.fileno()).members()


class _Scan:
    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.end = os.fstat(descriptor).st_size

    def members(self) -> Iterator[Member]:
        at = 0
        name, size = None, None  # of the next file, where an extended header tells
        while (block := self._read(BLOCK, at)) != bytes(BLOCK):
            kind, length = self._check(block, at), self._number(block[124:136], at)
            extends = kind in b"xgLK"
            if size is not None and not extends:
                length = size
            content, at = at + BLOCK, at + BLOCK + length + padding(length)
            if at > self.end:
                raise self._damaged("is cut off", content)
            if kind in b"xL":
                more_name, more_size = self._extended(kind, content, length)
                name, size = more_name or name, size if more_size is None else more_size
            elif kind in b"0\x007":
                yield Member(name or self._name(block, content), content, length)
            elif kind not in b"5gK":
                raise self._damaged("has a link, sparse file or device", content - BLOCK)
            if not extends:
                name, size = None, None
        self._check_end(at + BLOCK)

    def _check_end(self, at: int) -> None:
        rest = self._read(BLOCK, at)
        while rest:
            if rest.strip(b"\0"):
                raise self._damaged("has data after its end mark", at)
            at += len(rest)
            rest = os.pread(self.descriptor, 1 << 20, at)

    def _read(self, size: int, at: int) -> bytes:
        data = os.pread(self.descriptor, size, at)
        if len(data) < size:
            raise self._damaged("is cut off", at)
        return data

    def _check(self, block: bytes, at: int) -> bytes:
        if sum(block) - sum(block[148:156]) + 8 * 32 != self._number(block[148:156], at):
            raise self._damaged("has a damaged header or is no plain tar", at)
        return block[156:157]

    def _number(self, field: bytes, at: int) -> int:
        if field[0] == 0x80:  # GNU's base 256, for 8 GiB and more
            return int.from_bytes(field[1:], "big")
        digits = field.strip(b" \0")
        if not digits or digits.strip(b"01234567"):
            raise self._damaged("has a damaged header or is no plain tar", at)
        return int(digits, 8)

    def _name(self, block: bytes, at: int) -> str:
        name, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
        # GNU's own format keeps times where ustar keeps the prefix.
        return self._text(prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name, at)

    def _text(self, name: bytes, at: int) -> str:
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise self._damaged("has a name that is not UTF-8", at) from None

    def _extended(self, kind: bytes, at: int, length: int) -> tuple[str | None, int | None]:
        if length > MAX_EXTENDED_HEADER:
            raise self._damaged("has a damaged header", at)
        data = self._read(length, at)
        if kind == b"L":
            return self._text(data.split(b"\0")[0], at), None
        fields = self._pax(data, at)
        if any(field.startswith(b"GNU.sparse") for field in fields):
            raise self._damaged("has a link, sparse file or device", at)
        size = fields.get(b"size")
        if size is not None and not size.isdigit():
            raise self._damaged("has a damaged header", at)
        path = fields.get(b"path")
        return None if path is None else self._text(path, at), None if size is None else int(size[:20])

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

    def _damaged(self, what: str, at: int) -> UserError:
        return UserError(f"{printable(self.path)} {what} (at byte {at}): fetch or pack it again as a plain tar")
