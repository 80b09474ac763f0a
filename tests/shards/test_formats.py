"""The same bytes are read or refused, with the same pixels or words, by packing, the loader and predicting."""

import dataclasses
import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import simplejpeg
from PIL import Image, ImageOps

from shards.description import INDEX, KEYS, SET
from shards.formats import read_header
from shards.formats.ifd import directories
from shards.image_checks import BadImage, inspect, resized
from shards.index import ShardSet
from shards.loader import Reader
from shards.merge import PackReport
from shards.pack import pack
from shards.rebuild import rebuild
from shards.sources import open_source
from shards.user_images import Unused, find, read
from tests.helpers.odd_images import (
    SIDE,
    Pixels,
    chunk,
    colours,
    encoded,
    flat_jpeg,
    grey_png,
    near_infrared,
    tiff,
    with_orientation,
)

RGB = colours()
R, G, B = (np.ascontiguousarray(RGB[:, :, channel]) for channel in range(3))
NIR, GREY = near_infrared(), np.stack([R] * 3, 2)
PNG, JPEG = encoded(RGB, "PNG"), encoded(RGB, "JPEG")
DECODED = np.asarray(Image.open(io.BytesIO(JPEG)))
OPAQUE = np.where(NIR > 0, 255, 0).astype(np.uint8)
RGBA = Image.fromarray(np.dstack([RGB, NIR]))
BEFORE_PIXELS = PNG.index(b"IDAT") - 4
LONG_TEXT = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(2 << 20)))
# What the highest value of 1, 2 and 4 bits becomes in 8, for three channels.
GREYS = {bits: np.full(3, 255 // (2**bits - 1), np.uint8) for bits in (1, 2, 4)}
PALETTE = RGBA.convert("RGB").quantize(16)


def good(folder: Path) -> dict[str, tuple[bytes, Pixels]]:
    """Files that are read, with their pixels."""
    jpegs = {f"sampled {samplings}.jpg": flat_jpeg(samplings) for samplings in ((0x31, 0x11, 0x11), (0x14, 0x11, 0x11))}
    return jpegs | {
        "progressive.jpg": (encoded(RGB, "JPEG", progressive=True), DECODED),
        "of many pictures.jpg": (encoded(RGB, "MPO", save_all=True, append_images=[Image.fromarray(255 - RGB)]), DECODED),
        "with bytes after its end.jpg": (JPEG + bytes(100), DECODED),
        "grey.jpg": (encoded(np.full((SIDE, SIDE), 99, np.uint8), "JPEG"), np.full((SIDE, SIDE, 3), 99, np.uint8)),
        "png with long text.png": (PNG[:BEFORE_PIXELS] + LONG_TEXT + PNG[BEFORE_PIXELS:], RGB),
        "alpha.png": (encoded(RGBA, "PNG"), RGB),
        "grey and alpha.png": (encoded(Image.merge("LA", list(map(Image.fromarray, (R, NIR)))), "PNG"), GREY),
        "palette.png": (encoded(PALETTE, "PNG", transparency=3), np.asarray(PALETTE.convert("RGB"))),
        **{f"{bits} bits.png": (grey_png(R >> 8 - bits, bits), (R >> 8 - bits)[..., None] * full) for bits, full in GREYS.items()},
        "png in a.jpg": (PNG, RGB),
        "near infrared as alpha.tif": (tiff(folder, [R, G, B, NIR], photometric="rgb", alpha="yes"), RGB),
        "near infrared.tif": (tiff(folder, [R, G, B, NIR], photometric="rgb", alpha="no"), RGB),
        "three one by one.tif": (tiff(folder, [R, G, B], interleave="band", compress="lzw", predictor=2), RGB),
        "one by one with infrared.tif": (tiff(folder, [R, G, B, NIR], interleave="band", compress="lzw", alpha="no"), RGB),
        "opaque.tif": (tiff(folder, [R, G, B, np.full_like(R, 255)], photometric="rgb", alpha="premultiplied"), RGB),
        "tiled.tif": (tiff(folder, [R, G, B], tiled=True, blockxsize=16, blockysize=16, compress="deflate", bigtiff="yes"), RGB),
        "four bits.tif": (tiff(folder, [R >> 4], nbits=4), np.stack([(R >> 4) * 17] * 3, 2)),
    }


def refused(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Files that are not, with what is said of them."""
    pages = encoded(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    wide = [band.astype(np.uint16) * 257 for band in (R, G, B)]
    webp = encoded(RGB, "WEBP")
    return {
        "s2.tif": (tiff(folder, wide[:1] * 13), "is a TIFF with 13 bands of 16 bits: make an 8-bit RGB .*-b 4 -b 3 -b 2"),
        "deep three.tif": (tiff(folder, wide), "is a TIFF with 3 bands of 16 bits: make an 8-bit RGB .*-b 1 -b 2 -b 3 -ot Byte"),
        "float.tif": (tiff(folder, [R / np.float32(255)] * 3), "3 bands of 32-bit floating-point numbers"),
        "signed.tif": (tiff(folder, [(R // 2).astype(np.int8)]), "1 band of 8-bit signed integers"),
        "seven bits.tif": (tiff(folder, [R // 2], nbits=7), "1 band of 7 bits"),
        "lerc.tif": (tiff(folder, [R, G, B], compress="lerc_zstd"), "compressed with LERC: .*COMPRESS=DEFLATE"),
        "webp.tif": (tiff(folder, [R, G, B], compress="webp"), "compressed with WebP"),
        "one by one.tif": (tiff(folder, [R, G, B, NIR], interleave="band", photometric="rgb", alpha="no"), "4 bands .*one by one"),
        "minisblack.tif": (tiff(folder, [R, G, B], photometric="minisblack"), "3 bands that are not stored as red, green and blue"),
        "bgr.tif": (tiff(folder, [B, G, R], colours=("blue", "green", "red")), "-b 3 -b 2 -b 1 -co PHOTOMETRIC=RGB"),
        "negative.tif": (tiff(folder, [R], photometric="miniswhite"), "counts grey from white"),
        "half transparent.tif": (tiff(folder, [R, G, B, NIR], photometric="rgb", alpha="premultiplied"), "premultiplied alpha"),
        "cmyk.tif": (encoded(Image.fromarray(RGB).convert("CMYK"), "TIFF"), "colours are CMYK: convert it to RGB"),
        "lab.tif": (encoded(ImageOps.grayscale(RGBA.convert("RGB")).convert("RGB").convert("LAB"), "TIFF"), "CIELab"),
        "pages.tif": (pages, "is a TIFF of 2 pages, each a picture of its own: .*GTIFF_DIR"),
        "cmyk.jpg": (encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "is a CMYK JPEG: convert it to RGB"),
        "twelve bits.jpg": (JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "12 bits a channel: convert it to 8-bit"),
        "deep.png": (encoded(np.full((SIDE, SIDE), 40_000, np.uint16), "PNG"), "16 bits a channel: convert it to 8-bit RGB"),
        "moving.png": (encoded(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]), "animated PNG of 2"),
        "cut.jpg": (JPEG[:-30], "truncated or damaged JPEG"),
        "cut oddly sampled.jpg": (flat_jpeg((0x31, 0x11, 0x11))[0][:-2], "is truncated or damaged"),
        "cut.png": (PNG[:-30], "truncated or damaged PNG"),
        "cut.tif": (encoded(RGB, "TIFF")[:-30], "is truncated or damaged"),
        "cut tags.tif": (encoded(RGB, "TIFF")[:20], "is a truncated or damaged TIFF"),
        "lfs.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "run `git lfs pull`"),
        "error.jpg": (b"\n<!DOCTYPE html><title>404</title>", "but an HTML page"),
        "error.png": (b'{"error": "not found"}', "but a JSON text"),
        "error.tif": (b'<?xml version="1.0"?><Error/>', "but an XML"),
        "webp.jpg": (webp, "but a WebP: convert it"),
        "gif.jpg": (encoded(RGB, "GIF"), "but a GIF"),
        "bmp.jpg": (encoded(RGB, "BMP"), "but a BMP"),
        "jp2.jpg": (encoded(RGB, "JPEG2000"), "but a JPEG 2000"),
        "avif.jpg": (encoded(RGB, "AVIF"), "but an AVIF"),
        "heic.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0", "but a HEIC"),
        "pdf.jpg": (encoded(RGB, "PDF"), "but a PDF"),
        "zip.jpg": (b"PK\3\4" + bytes(50), "but a ZIP file: unpack it with unzip"),
        "double.jpg": (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
        "empty.jpg": (b"", "is empty"),
        "zeros.jpg": (bytes(5000), "only zero bytes"),
        "late.jpg": (b"\r\n" + JPEG, "a JPEG begins at byte 2: cut off"),
        "text.jpg": (b"see other folder\n", "but a text, which begins 'see other folder"),
        "unknown.jpg": (b"\x01\x02\x03\x04" * 9, "not a JPEG, PNG or TIFF image, or its header is damaged .*01 02 03 04"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


def placed(folder: Path, name: str) -> Path:
    """Where a file lies, so that no two have one key."""
    return folder / "DATA" / "odd" / name.rpartition(".")[2] / name


@pytest.fixture(scope="module")
def packed(folder: Path) -> PackReport:
    """All files in one class of an archive, packed without the bad ones."""
    images = folder / "DATA" / "odd"
    images.mkdir(parents=True)
    for name, (data, _) in {**good(folder), **refused(folder)}.items():
        placed(folder, name).parent.mkdir(exist_ok=True)
        placed(folder, name).write_bytes(data)
    (folder / "DATA" / "plain").mkdir()
    (folder / "DATA" / "plain" / "1.png").write_bytes(PNG)
    return pack(open_source(folder / "DATA"), folder / "SET", skip_bad=True)


def loaded(shards: ShardSet, key: str, side: int) -> Pixels:
    keys = [shards.key(sample) for sample in range(len(shards))]
    out = np.zeros((side, side, 3), np.uint8)
    with Reader(shards) as reader:
        reader.decode(keys.index(key), out)
    return out


def predicted(shards: ShardSet, file: Path, side: int) -> Pixels | str:
    """The pixels of a file that is given by name, or why it is refused."""
    [batch] = read(find([str(file)], shards, Unused()), side, 4, 1)
    return batch.bad[0].reason if batch.bad else batch.pixels[0]


def test_good_files_have_the_same_pixels_everywhere(folder: Path, packed: PackReport) -> None:
    for name, (data, truth) in good(folder).items():
        stem, _, extension = name.rpartition(".")
        key, (height, width, _) = f"odd/{extension}/{stem}", truth.shape
        facts = inspect(data)
        assert (facts.width, facts.height) == (width, height), name
        for side in (min(width, height), 16):
            read_by_loader = loaded(packed.shards, key, side)
            np.testing.assert_array_equal(read_by_loader, predicted(packed.shards, placed(folder, name), side), name)
        if (width, height) == (SIDE, SIDE):
            np.testing.assert_array_equal(loaded(packed.shards, key, SIDE), truth, name)
        else:
            np.testing.assert_array_equal(read_by_loader, truth[0, 0] + np.zeros_like(read_by_loader), name)


def test_refused_files_are_refused_in_the_same_words_everywhere(folder: Path, packed: PackReport) -> None:
    reasons = {Path(skipped.path).name: skipped.reason for skipped in packed.skipped}
    cases = refused(folder)
    assert reasons.keys() == cases.keys()
    for name, (_, said) in cases.items():
        assert re.search(said, reasons[name]), (name, reasons[name])
        assert predicted(packed.shards, placed(folder, name), 16) == reasons[name]


def test_overviews_and_masks_are_no_pages(folder: Path) -> None:
    path = folder / "overviews.tif"
    path.write_bytes(tiff(folder, [np.tile(band, (4, 4)) for band in (R, G, B)]))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
        file.write_mask(np.tile(OPAQUE, (4, 4)))
    assert len(list(directories(path.read_bytes()))) > 3
    assert inspect(path.read_bytes()).width == 4 * SIDE


@pytest.mark.parametrize("three", [(0x11, 0x22, 0x41), (0x21, 0x12, 0x31)])
def test_who_decodes_a_jpeg_is_told_by_its_samplings(three: tuple[int, ...]) -> None:
    def known(data: bytes) -> bool:
        try:
            simplejpeg.decode_jpeg_header(data)
        except (ValueError, KeyError):
            return False
        return True

    factors = [across << 4 | down for across in range(1, 5) for down in range(1, 5)]
    for first in factors:
        for second in factors:
            for samplings in ((first, second, second), (first, second, three[0]), (three[1], first, second)):
                data, _ = flat_jpeg(samplings)
                assert read_header(data).turbo == known(data), samplings


TURNED = [(kind, orientation) for kind in ("JPEG", "PNG", "TIFF") for orientation in range(1, 9)]


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """A wide picture in each format, with each orientation."""
    root = tmp_path_factory.mktemp("turned")
    wide = Image.fromarray(RGB[:20])
    for kind, orientation in TURNED:
        path = root / "DATA" / kind / f"{orientation}.{kind.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(with_orientation(wide, kind, orientation))
    return pack(open_source(root / "DATA"), root / "SET").shards


@pytest.mark.parametrize(("kind", "orientation"), TURNED)
def test_pictures_are_upright_everywhere(turned: ShardSet, kind: str, orientation: int) -> None:
    file = turned.root.parent / "DATA" / kind / f"{orientation}.{kind.lower()}"
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    facts = inspect(file.read_bytes())
    assert (facts.width, facts.height) == upright.size == ((32, 20) if orientation < 5 else (20, 32))
    assert (facts.phash ^ inspect(encoded(upright, "PNG")).phash).bit_count() <= 2
    left, top = (pixels - 20 for pixels in upright.size)
    middle = np.asarray(upright.crop((left // 2, top // 2, left // 2 + 20, top // 2 + 20)))
    np.testing.assert_array_equal(loaded(turned, f"{kind}/{orientation}", 20), middle)
    np.testing.assert_array_equal(predicted(turned, file, 20), middle)
    smaller, _ = resized(file.read_bytes(), 10)
    assert (inspect(smaller).phash ^ facts.phash).bit_count() <= 6
    assert inspect(smaller).width == (16 if orientation < 5 else 10)


def test_a_set_tells_that_pictures_are_turned_and_one_from_before_does_not_turn_them(turned: ShardSet) -> None:
    assert turned.turned == 14
    before = {name: (turned.root / name).read_bytes() for name in (SET, INDEX, KEYS)}
    assert b'"format": 2' in before[SET]
    rebuild(turned.root)
    assert before == {name: (turned.root / name).read_bytes() for name in before}
    records = np.array(turned.records)
    records["width"], records["height"] = 32, 20
    old = dataclasses.replace(turned, records=records, turned=0)
    for kind in ("JPEG", "PNG"):
        np.testing.assert_array_equal(loaded(old, f"{kind}/6", 20), loaded(turned, f"{kind}/1", 20))


def test_a_set_without_such_pictures_is_of_the_first_format(packed: PackReport) -> None:
    assert b'"format": 1' in (packed.shards.root / SET).read_bytes()
    assert packed.shards.turned == 0


@pytest.mark.parametrize("broken", [lambda exif: exif[:9], lambda exif: exif.replace(b"\x06\0\0\0", b"\x63\0\0\0"), lambda _: b""])
def test_orientations_that_make_no_sense_turn_nothing(broken: Callable[[bytes], bytes]) -> None:
    exif = with_orientation(Image.fromarray(RGB), "PNG", 6)
    start = exif.index(b"eXIf") + 4
    tag = broken(exif[start : start + 26])
    jpeg = encoded(RGB, "JPEG", exif=b"Exif\0\0" + tag)
    assert not inspect(jpeg).turned


def test_tags_that_lead_nowhere(folder: Path) -> None:
    data = bytearray(encoded(RGB, "TIFF"))
    start = int.from_bytes(data[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[end : end + 4] = start.to_bytes(4, "little")  # the first page follows itself
    assert inspect(bytes(data)).width == SIDE
    data[start : start + 2] = b"\xff\xff"
    with pytest.raises(BadImage, match="truncated or damaged TIFF"):
        inspect(bytes(data))
