"""What is told of images before they are trusted."""

import io
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from shards.image_checks import BadImage, difference_hash, inspect, resized
from tests.helpers.drawn import scene


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def picture() -> Image.Image:
    with Image.open(io.BytesIO(scene("Port", 1))) as image:
        return image.convert("RGB").resize((120, 90))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_every_format_tells_size_and_looks_alike(picture: Image.Image, kind: str) -> None:
    facts, reference = inspect(encoded(picture, kind)), inspect(encoded(picture, "PNG"))
    assert (facts.width, facts.height) == (120, 90)
    assert (facts.phash ^ reference.phash).bit_count() <= 6


def test_hash_tells_copies_from_other_pictures(picture: Image.Image) -> None:
    own = inspect(encoded(picture, "PNG")).phash
    copy = inspect(encoded(picture.resize((300, 225)), "JPEG", quality=70)).phash
    others = [inspect(scene("Beach", number)).phash for number in range(20)]
    assert (own ^ copy).bit_count() < min((own ^ other).bit_count() for other in others)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 9), (9, 8), (1000, 7)])
def test_hash_is_that_of_the_area_means(shape: tuple[int, int]) -> None:
    # Sizes with fewer pixels than cells repeat pixels.
    grey = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    starts = [np.arange(n) * size // n for n, size in zip((8, 9), shape, strict=True)]
    ends = [np.maximum(np.append(s[1:], size), s + 1) for s, size in zip(starts, shape, strict=True)]
    cells = [
        [grey[top:bottom, left:right].astype(float).mean() for left, right in zip(starts[1], ends[1], strict=True)]
        for top, bottom in zip(starts[0], ends[0], strict=True)
    ]
    bits = "".join("01"[bool(right - left > 1e-9)] for row in cells for left, right in pairwise(row))
    assert difference_hash(grey) == int(bits, 2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_truncated_images_are_refused_wherever_they_end(picture: Image.Image, kind: str) -> None:
    data = encoded(picture, kind)
    for length in [*range(1, len(data), len(data) // 40), len(data) - 1]:
        with pytest.raises(BadImage):
            inspect(data[:length])


def test_large_jpegs_are_decoded_to_their_end(picture: Image.Image) -> None:
    data = encoded(picture.resize((2000, 1500)), "JPEG")
    assert inspect(data).width == 2000
    with pytest.raises(BadImage, match="truncated"):
        inspect(data[:-100])


def png_claiming(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT", b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "is not a JPEG, PNG or TIFF"),
        (b"GIF89a" + bytes(100), "is not a JPEG, PNG or TIFF"),
        (png_claiming(60_000, 60_000), "60000x60000 pixels"),
        (png_claiming(70_000, 1), "65535 a side"),
    ],
)
def test_what_is_no_image_is_refused_by_its_header(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        inspect(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_pixels_are_limited(picture: Image.Image, kind: str) -> None:
    data = encoded(picture, kind)
    assert inspect(data, max_pixels=120 * 90)
    with pytest.raises(BadImage, match="120x90"):
        inspect(data, max_pixels=120 * 90 - 1)


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_more_than_eight_bits_must_be_converted(mode: str) -> None:
    with pytest.raises(BadImage, match="8-bit RGB"):
        inspect(encoded(Image.new(mode, (8, 8)), "TIFF"))


def test_cmyk_must_be_converted(picture: Image.Image) -> None:
    with pytest.raises(BadImage, match="convert it to RGB"):
        inspect(encoded(picture.convert("CMYK"), "JPEG"))


@pytest.mark.parametrize(("kind", "becomes"), [("JPEG", ".jpg"), ("PNG", ".png"), ("TIFF", ".jpg")])
def test_resizing_keeps_the_aspect(picture: Image.Image, kind: str, becomes: str) -> None:
    data, extension = resized(encoded(picture, kind), 45)
    facts = inspect(data)
    assert (facts.width, facts.height, extension) == (60, 45, becomes)


def test_an_image_of_the_right_size_is_not_encoded_again(picture: Image.Image) -> None:
    data = encoded(picture, "JPEG")
    assert resized(data, 90) == (data, None)
