"""The tags of a TIFF: whether it is one picture, of colours that are read as every other program reads them.

Sources: TIFF 6.0 (Adobe, 1992); the registered compressions of libtiff's tiff.h; GDAL's GTiff driver for its own tag.
"""

import re
from collections.abc import Iterator

from shards.formats.header import Header
from shards.formats.ifd import MAX_PAGES, Damaged, Directory, directories

MAGICS = tuple(order + magic for order in (b"II", b"MM") for magic in (b"*\0", b"\0*", b"+\0", b"\0+"))
_SUBFILE, _OLD_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 258, 259, 262
_SAMPLES, _PLANAR, _COLOUR_MAP, _EXTRA, _FORMAT, _GDAL = 277, 284, 320, 338, 339, 42112
_REDUCED, _MASK = 1, 4
_COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000}
_COMPRESSION_NAMES = {34712: "JPEG 2000", 34887: "LERC", 34933: "PNG", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}
_JPEGS = (6, 7)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_COLOURS = {4: "a mask", 5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv"}
_CAMERA = (32803, 34892)
_NUMBERS = {2: "-bit signed integers", 3: "-bit floating-point numbers", 5: "-bit complex integers", 6: "-bit complex numbers"}
_ONE_BY_ONE, _PREMULTIPLIED = 2, 1
_MOST_BANDS = 6  # that Pillow takes
_COLOUR_OF_BAND = re.compile(rb'name="COLORINTERP" sample="(\d+)"[^>]*>(Red|Green|Blue)<')
_NEGATIVE = (
    "is a TIFF that counts grey from white (MinIsWhite), which some programs show as a negative: save it as a PNG that looks right"
)


def header(data: bytes) -> Header:
    """Read the header of bytes that begin with one of MAGICS."""
    try:
        pages = directories(data)
        first = next(pages)
        refusal = _pages_refusal(first, sum(map(_is_picture, pages))) or _refusal(first)
        return Header(
            "TIFF", refusal, deep=max(first.get(_BITS, (1,))) > 8, premultiplied=first.get(_EXTRA, (0,))[0] == _PREMULTIPLIED
        )
    except (Damaged, StopIteration):
        return Header("TIFF", "is a truncated or damaged TIFF")


def _is_picture(page: Directory) -> bool:
    """Tell whether a page is a picture of its own, not an overview or a mask of another."""
    return not page.get(_SUBFILE, (0,))[0] & (_REDUCED | _MASK) and page.get(_OLD_SUBFILE, (1,))[0] != 2


def _pages_refusal(first: Directory, others: int) -> str:
    if others and not _is_picture(first):
        return "is a TIFF whose first page is an overview of a later one: save the whole picture as a file of its own"
    count = f"{others + 1}" if others + 1 < MAX_PAGES else f"{MAX_PAGES} or more"
    one = "save the one that is meant as a file of its own, for example with `gdal_translate GTIFF_DIR:1:IN.tif OUT.tif`"
    return f"is a TIFF of {count} pages, each a picture of its own: {one}" if others else ""


def _refusal(page: Directory) -> str:
    (compression, *_), (photometric, *_) = page.get(_COMPRESSION, (1,)), page.get(_PHOTOMETRIC, (-1,))
    if compression not in _COMPRESSIONS:
        name = _COMPRESSION_NAMES.get(compression, f"method {compression}")
        return f"is a TIFF compressed with {name}: {_translate('compress it otherwise', '-co COMPRESS=DEFLATE')}"
    if photometric in _CAMERA:
        return "holds the raw values of a camera's sensor: develop it to an 8-bit RGB image"
    return _numbers_refusal(page) or next(_colours_refusals(page, photometric, compression), "")


def _numbers_refusal(page: Directory) -> str:
    """Refuse what are not whole numbers of at most 8 bits, or are too many bands."""
    bands, bits, format_ = page.get(_SAMPLES, (1,))[0], max(page.get(_BITS, (1,))), max(page.get(_FORMAT, (1,)))
    if bits in (1, 2, 4, 8) and format_ == 1 and bands <= _MOST_BANDS:
        return ""
    numbers = f"{bits}{_NUMBERS[format_]}" if format_ in _NUMBERS else f"{bits} bits"
    kind = "8-bit RGB image of its red, green and blue bands" if bands >= 3 else "8-bit RGB or grey image"
    made = _translate(f"make an {kind}", f"{_rgb(page)}-ot Byte -scale")
    return f"is a TIFF with {bands} band{'s' * (bands != 1)} of {numbers}: {made}"


def _colours_refusals(page: Directory, photometric: int, compression: int) -> Iterator[str]:
    """Yield why colours are refused, which Pillow does not read, or not as other programs do."""
    bands, rgb = page.get(_SAMPLES, (1,))[0], _rgb(page)
    if photometric == _WHITE_IS_ZERO:
        yield _NEGATIVE
    if photometric not in (_BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR):
        yield f"is a TIFF whose colours are {_COLOURS.get(photometric, 'of an unknown kind')}: convert it to RGB"
    if photometric in (_BLACK_IS_ZERO, _PALETTE) and bands > 2:
        as_rgb = _translate("write them as RGB", f"{rgb}-co PHOTOMETRIC=RGB")
        yield f"is a TIFF with {bands} bands that are not stored as red, green and blue: {as_rgb}"
    if photometric == _BLACK_IS_ZERO and page.get(_COLOUR_MAP):
        yield f"is a TIFF of grey values with a table of colours: {_translate('write the colours', '-expand rgb')}"
    if photometric == _YCBCR and compression not in _JPEGS:
        yield "is a TIFF of YCbCr colours without JPEG: convert it to RGB"
    if photometric == _RGB and (named := _named(page)) not in (None, (1, 2, 3)):
        ordered = _translate("write them in that order", f"{rgb}-co PHOTOMETRIC=RGB")
        yield f"is a TIFF that says its bands {named} are red, green and blue: {ordered}"
    # Pillow unpacks bands that stand one by one as they come, and knows no more than alpha beside the colours.
    one_by_one = page.get(_PLANAR, (1,))[0] == _ONE_BY_ONE and compression == 1
    if one_by_one and bands > 3 and not any(page.get(_EXTRA, (2,))[:1]):
        whole = _translate("store the pixels whole", f"{rgb}-co INTERLEAVE=PIXEL")
        yield f"is a TIFF with {bands} bands that are stored one by one: {whole}"


def _translate(mend: str, options: str) -> str:
    return f"{mend}, for example with `gdal_translate {options} IN.tif OUT.tif`"


def _rgb(page: Directory) -> str:
    """Return the options that choose red, green and blue: as the file says, or first, or, of many, as Sentinel-2 has them."""
    bands = page.get(_SAMPLES, (1,))[0]
    if bands < 3:
        return ""
    red, green, blue = _named(page) or ((4, 3, 2) if bands > _MOST_BANDS else (1, 2, 3))
    return f"-b {red} -b {green} -b {blue} "


def _named(page: Directory) -> tuple[int, int, int] | None:
    """Return which bands, counted from 1, GDAL's own tag calls red, green and blue; None where it does not."""
    places = {colour: int(band) + 1 for band, colour in _COLOUR_OF_BAND.findall(page.text(_GDAL))}
    return (places[b"Red"], places[b"Green"], places[b"Blue"]) if len(places) == 3 else None
