"""What is known of an image before it is trusted: format, size, whether it decodes, a perceptual hash."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from shards.formats import read_header
from shards.formats.header import Header
from shards.formats.png import MAGIC as PNG_MAGIC
from shards.formats.png import picture
from shards.formats.tiff import MAGICS as TIFF_MAGICS

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff")
MAX_PIXELS = 64_000_000
MAX_BYTES = 1 << 30
MAX_SIDE = 65_535  # what the index can hold

# The largest side of the grey picture that a JPEG is decoded to for its hash.
_HASH_SIDE = 32
# How a picture is turned upright, by its orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = 5  # from this orientation on, width and height change places
_PREMULTIPLIED = (
    "has a band marked as premultiplied alpha, by which programs divide the colours or not: write the colours alone, "
    "for example with `gdal_translate -b 1 -b 2 -b 3 IN.tif OUT.tif`"
)


class BadImage(ValueError):
    """An image that cannot be used; the text says why and follows the image's name in messages."""


class _Tiff(TiffImageFile):
    """A TIFF whose size is held against no limit of Pillow's when it is decoded."""

    def load_prepare(self) -> None:
        """Make room for the pixels, as stored; Pillow would ask for its limit before it does so."""
        if self._im is None:
            self.im = Image.new(self.mode, (self.tag_v2[IMAGEWIDTH], self.tag_v2[IMAGELENGTH]), None).im
        super().load_prepare()


@dataclass(frozen=True)
class ImageFacts:
    """Facts of an image.

    Attributes:
        width: of the upright picture, pixels.
        height: of the upright picture, pixels.
        phash: 64-bit difference hash of the upright picture.
        turned: whether an orientation tag says that the pixels are not stored upright; never of a TIFF, which Pillow turns.
    """

    width: int
    height: int
    phash: int
    turned: bool = False


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Decode an image to its end and return its facts.

    Raises:
        BadImage: not a JPEG, PNG or TIFF, of a kind that is not read, truncated or damaged, or too large.
    """
    header = accepted(data)
    size, grey = (_turbo_grey if header.turbo else _grey)(data, header, max_pixels)
    if header.orientation != 1:
        grey = np.asarray(turned(Image.fromarray(grey), header.orientation))
    return ImageFacts(*upright_size(size, header.orientation), difference_hash(grey), header.orientation != 1)


def accepted(data: bytes) -> Header:
    """Return the header of an image that may be used; its pixels are not looked at.

    Raises:
        BadImage: not a JPEG, PNG or TIFF, of a kind that is not read, or damaged.
    """
    header = read_header(data)
    if header.refusal:
        raise BadImage(header.refusal)
    return header


def _turbo_grey(data: bytes, header: Header, max_pixels: int) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    """Return the size of a JPEG, and its grey values at a smaller scale, as stored."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height, max_pixels)
        # A smaller scale skips arithmetic only: all of the compressed data is read and checked.
        grey = simplejpeg.decode_jpeg(data, "GRAY", min_height=_HASH_SIDE, min_width=_HASH_SIDE)
    except BadImage:
        raise
    except (ValueError, KeyError) as error:
        raise BadImage(f"is a truncated or damaged {header.kind} ({error})") from None
    return (width, height), grey[:, :, 0]


def _grey(data: bytes, header: Header, max_pixels: int) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    """Return the size of an image, and its grey values; a JPEG or PNG as stored, a TIFF upright."""
    with open_image(data, max_pixels) as image:
        size, grey = image.size, to_rgb(image).convert("L")
        if header.premultiplied and any(image.getchannel(image.getbands()[-1]).histogram()[:-1]):
            raise BadImage(_PREMULTIPLIED)
    return size, np.asarray(grey)


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a JPEG, PNG or TIFF with Pillow, without decoding it.

    Not by `Image.open`: it holds every image against one limit for all of the process, which is for the program to set that
    we are a part of. Ours is checked here, before a pixel is decoded.

    Raises:
        BadImage: not such an image, or too large.
    """
    try:
        if data.startswith(PNG_MAGIC):
            image: Image.Image = PngImageFile(io.BytesIO(picture(data)))
        else:
            image = (_Tiff if data.startswith(TIFF_MAGICS) else JpegImageFile)(io.BytesIO(data))
    except Exception as error:  # on crafted files Pillow raises almost anything
        said = f"{type(error).__name__}: {error}".partition(" <")[0]
        raise BadImage(f"is an image that Pillow cannot open ({said}): save it anew as 8-bit RGB, or fetch it again") from None
    check_size(*image.size, max_pixels)
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image to 8-bit RGB; a JPEG or PNG as stored, a TIFF upright. Alpha is left out.

    Raises:
        BadImage: truncated or damaged, or its colours cannot be converted.
    """
    try:
        return image.convert("RGB")
    except Exception as error:  # on crafted files Pillow raises almost anything
        raise BadImage(f"is truncated or damaged, or of an unknown colour space ({error})") from None


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture that is stored with an orientation, 1 to 8, upright."""
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height of a picture once it is turned upright."""
    return (size[1], size[0]) if orientation >= _SIDEWAYS else size


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image by what its header says, so that a few bytes cannot claim all memory.

    Raises:
        BadImage: no pixels, or too many.
    """
    if width < 1 or height < 1:
        raise BadImage("has no pixels")
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise BadImage(f"has {width}x{height} pixels, more than {max_pixels} in all or {MAX_SIDE} a side: cut it into scenes")


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
    header = accepted(data)
    with open_image(data, max_pixels) as image:
        if min(image.size) == side:
            return data, None
        upright = turned(to_rgb(image), header.orientation)
    scale = side / min(upright.size)
    width, height = (max(side, round(pixels * scale)) for pixels in upright.size)
    check_size(width, height, max_pixels)
    kind = "PNG" if header.kind == "PNG" else "JPEG"
    encoded = io.BytesIO()
    upright.resize((width, height), Image.Resampling.BILINEAR).save(encoded, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return encoded.getvalue(), ".png" if kind == "PNG" else ".jpg"
