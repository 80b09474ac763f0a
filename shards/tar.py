"""Tar files: an own ustar writer that knows every offset; `shards.tarscan` reads them."""

import hashlib
from pathlib import Path
from typing import Self

from shards.files import sync

BLOCK = 512
END = bytes(2 * BLOCK)


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
