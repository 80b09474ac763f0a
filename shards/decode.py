"""Image bytes to uint8 pixels in a buffer that already exists."""

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from shards.formats import read_header
from shards.image_checks import BadImage, open_image, to_rgb, turned, upright_size

Pixels = NDArray[np.uint8]


def decode_into(data: bytes, width: int, height: int, out: Pixels, upright: bool = True) -> None:
    """Decode an image of the size the index says into `out`, [side, side, 3] RGB.

    Where the image is not already of that size, its shorter side is scaled to `side` (bilinear,
    antialiased) and the middle of the longer one is kept.

    Args:
        data: bytes of a JPEG, PNG or TIFF that `inspect` accepted.
        width: of the picture, pixels.
        height: of the picture, pixels.
        out: the pixels.
        upright: turn a JPEG or PNG as its orientation tag says.

    Raises:
        ValueError: the bytes are not an image, or not of that size.
    """
    side, header = out.shape[0], read_header(data)
    if header.deep:
        raise BadImage(header.refusal)
    orientation = header.orientation if upright else 1
    if header.turbo and orientation == 1 and (height, width) == (side, side):
        _decode_jpeg(data, out)
        return
    with open_image(data, width * height) as image:
        size = upright_size(image.size, orientation)
        if size != (width, height):
            raise ValueError(f"is {size[0]}x{size[1]} pixels, the index says {width}x{height}")
        out[:] = square(turned(to_rgb(image), orientation), side)


def _decode_jpeg(data: bytes, out: Pixels) -> None:
    # Decoding straight into the batch saves a copy; without fastdct, pixels are those of Pillow.
    decoded = simplejpeg.decode_jpeg(data, buffer=out)
    if decoded.shape != out.shape:
        raise ValueError(f"is {decoded.shape[1]}x{decoded.shape[0]} pixels, the index says {out.shape[1]}x{out.shape[0]}")


def square(image: Image.Image, side: int) -> Pixels:
    """Scale the shorter side of an 8-bit RGB picture to `side` (bilinear, antialiased), and take the middle of the longer one."""
    width, height = image.size
    shorter = min(width, height)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))
