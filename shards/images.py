"""What is known of an image before it is trusted: format, size, whether it decodes, a perceptual hash."""

import io
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

JPEG_MAGIC = b"\xff\xd8\xff"
FORMATS = ("JPEG", "PNG", "TIFF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
MAX_PIXELS = 64_000_000
MAX_BYTES = 1 << 30
MAX_SIDE = 65_535  # what the index can hold

# The largest side of the grey picture that a JPEG is decoded to for its hash.
_HASH_SIDE = 32
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TIFF_BITS_PER_SAMPLE = 258

# Pillow's own limit raises and warns at sizes that the caller may have allowed: every image is
# opened by `open_image`, and its size is checked before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


class BadImage(ValueError):
    """An image that cannot be used; the text says why and follows the image's name in messages."""


@dataclass(frozen=True)
class ImageFacts:
    """Facts of an image: width and height in pixels, 64-bit difference hash."""

    width: int
    height: int
    phash: int


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Decode an image to its end and return its facts.

    Raises:
        BadImage: empty, not a JPEG, PNG or TIFF, truncated or damaged, too large, or not 8-bit.
    """
    if not data:
        raise BadImage("is empty")
    width, height, grey = (_jpeg if data.startswith(JPEG_MAGIC) else _other)(data, max_pixels)
    return ImageFacts(width, height, difference_hash(grey))


def _jpeg(data: bytes, max_pixels: int) -> tuple[int, int, NDArray[np.uint8]]:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height, max_pixels)
        if colours not in ("YCbCr", "Gray", "RGB"):
            raise BadImage(f"is a {colours} JPEG: convert it to RGB")
        # A smaller scale skips arithmetic only: all of the compressed data is read and checked.
        grey = simplejpeg.decode_jpeg(data, "GRAY", min_height=_HASH_SIDE, min_width=_HASH_SIDE)
    except BadImage:
        raise
    except ValueError as error:
        raise BadImage(f"is a truncated or damaged JPEG ({error})") from None
    return width, height, grey[:, :, 0]


def _other(data: bytes, max_pixels: int) -> tuple[int, int, NDArray[np.uint8]]:
    if data.startswith(_PNG_MAGIC):
        _check_png(data)
    with open_image(data, max_pixels) as image:
        return *image.size, np.asarray(to_rgb(image).convert("L"))


def _check_png(data: bytes) -> None:
    # Pillow checks neither the checksums of the pixels' chunks nor that the file has an end.
    at, kind = len(_PNG_MAGIC), b""
    while kind != b"IEND":
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise BadImage("is a truncated or damaged PNG")
        at = end + 4


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a JPEG, PNG or TIFF with Pillow, without decoding it, once its header was checked.

    Raises:
        BadImage: not such an image, too large, or not 8-bit.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        bits = _bits(image, data)
    except Exception as error:  # on crafted files Pillow raises almost anything
        raise BadImage(f"is not a JPEG, PNG or TIFF image, or its header is damaged ({type(error).__name__})") from None
    check_size(*image.size, max_pixels)
    if bits > 8:
        raise BadImage(f"has {bits} bits a channel: convert it to 8-bit RGB")
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image to 8-bit RGB.

    Raises:
        BadImage: truncated or damaged, or its colours cannot be converted.
    """
    try:
        return image.convert("RGB")
    except Exception as error:  # on crafted files Pillow raises almost anything
        raise BadImage(f"is truncated or damaged, or of an unknown colour space ({error})") from None


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image by what its header says, so that a few bytes cannot claim all memory.

    Raises:
        BadImage: no pixels, or too many.
    """
    if width < 1 or height < 1:
        raise BadImage("has no pixels")
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise BadImage(f"has {width}x{height} pixels, more than {max_pixels} in all or {MAX_SIDE} a side: cut it into scenes")


def _bits(image: Image.Image, data: bytes) -> int:
    """Return the bits of a channel, which Pillow's mode does not always tell: it cuts 16-bit RGB to 8."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, 1)  # type: ignore[attr-defined]
        return int(max(bits) if isinstance(bits, tuple) else bits)
    return 8


def difference_hash(grey: NDArray[np.uint8]) -> int:
    """Return whether each cell of the 8x9 area-mean thumbnail is darker than its right neighbour, as 64 bits.

    Source: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013 (dHash).
    """
    rows, _ = _cells(grey.shape[0], 8)
    columns, widths = _cells(grey.shape[1], 9)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0, dtype=np.int64), columns, axis=1)
    # Means compared as whole numbers, so that no rounding can differ between machines.
    bits = sums[:, :-1] * widths[1:] < sums[:, 1:] * widths[:-1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(maxsize=256)
def _cells(pixels: int, cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each of `cells` cells starts, and how many pixels it has."""
    starts = np.arange(cells) * pixels // cells
    # Where there are fewer pixels than cells, starts coincide and reduceat takes one pixel.
    return starts, np.maximum(np.diff(starts, append=pixels), 1)


def resized(data: bytes, side: int, max_pixels: int = MAX_PIXELS) -> tuple[bytes, str | None]:
    """Scale an image so that its shorter side is `side` pixels (bilinear, antialiased).

    Returns:
        The encoded image and its extension: PNG stays PNG, all else becomes JPEG of quality 95.
        An image of that size already comes back as it is, with None.

    Raises:
        BadImage: as `inspect`.
    """
    with open_image(data, max_pixels) as image:
        if min(image.size) == side:
            return data, None
        scale = side / min(image.size)
        width, height = (max(side, round(pixels * scale)) for pixels in image.size)
        check_size(width, height, max_pixels)
        scaled = to_rgb(image).resize((width, height), Image.Resampling.BILINEAR)
        kind = "PNG" if image.format == "PNG" else "JPEG"
    encoded = io.BytesIO()
    scaled.save(encoded, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return encoded.getvalue(), ".png" if kind == "PNG" else ".jpg"
