"""The chunks of a PNG.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C.
"""

import zlib
from collections.abc import Iterator

from shards.formats.header import Header
from shards.formats.ifd import orientation

MAGIC = b"\x89PNG\r\n\x1a\n"
_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def header(data: bytes) -> Header:
    """Read the header of bytes that begin with MAGIC, and check all chunks."""
    turned, frames, whole, apple = 1, 1, False, False
    # Pillow checks neither the checksums of the pixels' chunks nor that the file has an end.
    for kind, start, end in _chunks(data):
        if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            break
        if kind == b"eXIf":
            turned = orientation(data[start:end])
        elif kind == b"acTL":
            frames = int.from_bytes(data[start : start + 4], "big")
        apple, whole = apple or kind == b"CgBI", kind == b"IEND"
    bits = data[24] if whole else 8
    return Header("PNG", _refusal(bits, frames, whole, apple), turned, deep=bits > 8)


def _refusal(bits: int, frames: int, whole: bool, apple: bool) -> str:
    if not whole:
        return "is a truncated or damaged PNG"
    if apple:
        return "is a PNG in Apple's own form (CgBI): convert it to an ordinary PNG"
    if frames > 1:
        return f"is an animated PNG of {frames} pictures: save the one that is meant as a PNG of its own"
    return f"is a PNG with {bits} bits a channel: convert it to 8-bit RGB" if bits > 8 else ""


def picture(data: bytes) -> bytes:
    """Return a PNG without the chunks that its pixels do not need: Pillow refuses long texts."""
    chunks = list(_chunks(data))
    if all(kind in _PICTURE for kind, _, _ in chunks):
        return data
    return MAGIC + b"".join(data[start - 8 : end + 4] for kind, start, end in chunks if kind in _PICTURE)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each chunk, up to the last or to where the file is cut off."""
    at, kind = len(MAGIC), b""
    while kind != b"IEND":
        start = at + 8
        kind, end = data[at + 4 : start], start + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            return
        yield kind, start, end
        at = end + 4
