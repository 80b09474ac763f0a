"""Image bytes to uint8 pixels in a buffer that already exists."""

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from shards.images import JPEG_MAGIC, open_image, to_rgb

Pixels = NDArray[np.uint8]


def decode_into(data: bytes, width: int, height: int, out: Pixels) -> None:
    """Decode an image of the size the index says into `out`, [side, side, 3] RGB.

    Where the image is not already of that size, its shorter side is scaled to `side` (bilinear,
    antialiased) and the middle of the longer one is kept.

    Raises:
        ValueError: the bytes are not an image, or not of that size.
    """
    side = out.shape[0]
    if data.startswith(JPEG_MAGIC) and (height, width) == (side, side):
        _decode_jpeg(data, out)
        return
    with open_image(data, width * height) as image:
        if image.size != (width, height):
            raise ValueError(f"is {image.size[0]}x{image.size[1]} pixels, the index says {width}x{height}")
        out[:] = _square(to_rgb(image), side)


def _decode_jpeg(data: bytes, out: Pixels) -> None:
    # Decoding straight into the batch saves a copy; without fastdct, pixels are those of Pillow.
    decoded = simplejpeg.decode_jpeg(data, buffer=out)
    if decoded.shape != out.shape:
        raise ValueError(f"is {decoded.shape[1]}x{decoded.shape[0]} pixels, the index says {out.shape[1]}x{out.shape[0]}")


def _square(image: Image.Image, side: int) -> Pixels:
    width, height = image.size
    shorter = min(width, height)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))
