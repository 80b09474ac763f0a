"""The header of a JPEG: who can decode it, and how it is to be turned.

Source: ITU-T T.81, annex B.
"""

from collections.abc import Iterator

from shards.formats.header import Header
from shards.formats.ifd import orientation

MAGIC = b"\xff\xd8\xff"
_EXIF = b"Exif\0\0"
_APP1, _ENDS = 0xE1, {0xD9, 0xDA}
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_DIFFERENTIAL = {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF}
_JPEG_LS = 0xF7
_BARE = {0x00, 0x01, *range(0xD0, 0xD9), 0xFF}  # what no length follows
# Sampling factors (4 bits across, 4 bits down) of the three channels, of which TurboJPEG can tell the kind of subsampling.
TURBO_SAMPLINGS = {
    bytes.fromhex(factors)
    for factors in ("111111", "121212", "131313", "212121", "313131", "211111", "221212", "221111", "121111", "222121", "411111")
}


def header(data: bytes) -> Header:
    """Read the header of bytes that begin with MAGIC; what makes no sense is left for the decoder to tell."""
    turned = 0
    for marker, start, end in _segments(data):
        if marker in _FRAMES:  # EXIF data stand before it
            frame = data[start:end]
            if len(frame) <= 5:
                break
            return Header("JPEG", _refusal(marker, frame[0], frame[5]), turned or 1, turbo=_is_turbo(frame))
        if marker == _APP1 and data.startswith(_EXIF, start):
            turned = turned or orientation(data[start + len(_EXIF) : end])
    return Header("JPEG", turbo=True)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment before the first scan; what lies between is skipped, as libjpeg does."""
    at, last = 2, len(data) - 4
    while 0 <= (at := data.find(b"\xff", at)) <= last:
        marker = data[at + 1]
        if marker in _BARE:
            at += 1
            continue
        if marker in _ENDS:
            return
        length = data[at + 2] << 8 | data[at + 3]
        end = at + 2 + length if length > 2 else at + 4
        yield marker, at + 4, end
        at = end


def _refusal(marker: int, bits: int, channels: int) -> str:
    if marker == _JPEG_LS:
        return "is a JPEG-LS: convert it to an ordinary JPEG or PNG"
    if marker in _DIFFERENTIAL:
        return "is a hierarchical JPEG: convert it to an ordinary JPEG or PNG"
    if bits != 8:
        return f"is a JPEG with {bits} bits a channel: convert it to 8-bit RGB"
    if channels not in (1, 3):
        return f"is a {'CMYK' if channels == 4 else f'{channels}-channel'} JPEG: convert it to RGB"
    return ""


def _is_turbo(frame: bytes) -> bool:
    return frame[5] == 1 or frame[7::3][: frame[5]] in TURBO_SAMPLINGS
