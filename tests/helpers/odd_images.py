"""Images as other programs write them: odd ones, and files that are none."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
SIDE = 32
_EXIF = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0%c\0\0\0\0\0\0\0"


def colours() -> Pixels:
    """A smooth picture whose channels differ, [SIDE, SIDE, 3]."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return np.stack([x * 8, y * 8, (x + y) * 4], 2).astype(np.uint8)


def near_infrared() -> Pixels:
    """A band that is 0 in places and not like the others, [SIDE, SIDE]."""
    return np.clip(255 - colours()[:, :, 0].astype(int) * 2, 0, 255).astype(np.uint8)


def encoded(image: Image.Image | Pixels, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def with_orientation(image: Image.Image, kind: str, orientation: int) -> bytes:
    if kind == "TIFF":
        return encoded(image, kind, tiffinfo={274: orientation})
    return encoded(image, kind, exif=(b"Exif\0\0" if kind == "JPEG" else b"") + _EXIF % orientation)


def tiff(folder: Path, bands: Sequence[NDArray[Any]], **options: Any) -> bytes:
    """A TIFF as GDAL writes it; `options` as of rasterio, and `colours`, names of the bands."""
    named, path = options.pop("colours", None), folder / "written.tif"
    shape = {"height": bands[0].shape[0], "width": bands[0].shape[1], "count": len(bands), "dtype": bands[0].dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        if named:
            file.colorinterp = [rasterio.enums.ColorInterp[name] for name in named]
        for place, band in enumerate(bands, 1):
            file.write(band, place)
    return path.read_bytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def grey_png(values: NDArray[Any], bits: int) -> bytes:
    """A grey PNG of 1, 2, 4 or 8 bits, [SIDE, SIDE]."""
    rows = np.unpackbits(values[..., None], axis=2)[:, :, 8 - bits :].reshape(len(values), -1)
    packed = np.pad(np.packbits(rows, axis=1), ((0, 0), (1, 0)))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(packed.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*pair) for pair in chunks)


def flat_jpeg(samplings: tuple[int, ...]) -> tuple[bytes, Pixels]:
    """A JPEG of one unit and one grey value whose channels are sampled so (4 bits across, 4 bits down), and its pixels."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG", quality=50, subsampling=0))
    frame, scan = data.index(b"\xff\xc0") + 4, data.index(b"\xff\xda")
    across, down = (max(sampling >> shift & 15 for sampling in samplings) for shift in (4, 0))
    data[frame + 1 : frame + 5] = struct.pack(">HH", 8 * down, 8 * across)
    for channel, sampling in enumerate(samplings):
        data[frame + 7 + 3 * channel] = sampling
    blocks = [(sampling >> 4) * (sampling & 15) for sampling in samplings]
    # In the standard tables: a first luminance of 40 steps; then no difference, and no other coefficient.
    bits = "1110" + f"{40:06b}" + "1010" + "001010" * (blocks[0] - 1) + "0000" * sum(blocks[1:])
    bits += "1" * (-len(bits) % 8)
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    coded = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    step = data[data.index(b"\xff\xdb") + 5]
    return bytes(data[:start]) + coded + b"\xff\xd9", np.full((8 * down, 8 * across, 3), 128 + 40 * step // 8, np.uint8)
