"""What a file is that is not what its name says, by its first bytes, and what can be done."""

import re
from collections.abc import Callable

from shards.formats import jpeg, png

_NO = "is not a JPEG, PNG or TIFF image"
_CONVERT = "convert it to one of them"
_AGAIN = "fetch it again"
_EXPORT = "export its image as one of them"
_HEAD = 4096

# What the first bytes match, what that is, and the mend.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (rb"version https://git-lfs", "a Git LFS pointer to a file that was not fetched", "run `git lfs pull` in its folder"),
    (
        rb"/?(\.\./)*(\.git/)?annex/objects",
        "a git-annex pointer to a file that was not fetched",
        "run `git annex get` in its folder",
    ),
    (rb"RIFF....WEBP", "a WebP", _CONVERT),
    (rb"GIF8[79]a", "a GIF", _CONVERT),
    (rb"BM.{4}\0\0\0\0", "a BMP", _CONVERT),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000", _CONVERT),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL", _CONVERT),
    (rb"....ftypavi[fs]", "an AVIF", _CONVERT),
    (rb"....ftyp(hei|hev|mif1|msf1)", "a HEIC", _CONVERT),
    (rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3", "a video", "save its frames as images"),
    (rb"II\xbc\x01", "a JPEG XR", _CONVERT),
    (rb"8BPS", "a Photoshop document", _EXPORT),
    (rb"\0\0[\1\2]\0[^\0]", "an icon", _CONVERT),
    (rb"P[1-7][\s]", "a PNM", _CONVERT),
    (rb"v/1\x01|#\?RADIANCE", "a high dynamic range image", _CONVERT),
    (rb"NITF0|NSIF0", "an NITF", _CONVERT),
    (rb"msid", "a MrSID", _CONVERT),
    (rb"%PDF-|%!PS", "a PDF or PostScript document", _EXPORT),
    (rb"\x1f\x8b", "a gzip file", "unpack it with gunzip"),
    (rb"BZh", "a bzip2 file", "unpack it with bunzip2"),
    (rb"\xfd7zXZ\0", "an xz file", "unpack it with unxz"),
    (rb"\x28\xb5\x2f\xfd", "a zstd file", "unpack it with unzstd"),
    (rb"PK\x03\x04.{26}(\[Content_Types\]|_rels/|docProps/|xl/)", "an Office document, such as Excel's", "export what is meant"),
    (rb"PK\x03\x04|PK\x05\x06", "a ZIP file", "unpack it with unzip"),
    (rb"7z\xbc\xaf|Rar!", "a 7z or RAR file", "unpack it with 7z"),
    (rb".{257}ustar", "a tar", "unpack it with tar"),
    (rb"\x89HDF\r\n|CDF[\1\2\5]|\x93NUMPY|MATLAB 5\.0", "a file of arrays (HDF5, netCDF, NumPy or MATLAB)", _EXPORT),
    (rb"\0\x05\x16[\x00\x07]", "what macOS notes beside a file (AppleDouble)", "remove it"),
    (rb"\s*(?i:<!doctype html|<html|<head|<body)", "an HTML page, as failed downloads leave it", _AGAIN),
    (rb"\s*(?i:(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg)", "an SVG drawing", _CONVERT),
    (rb"\s*<", "an XML or HTML text, as failed downloads leave it", _AGAIN),
    (rb"\s*[{\[]\s*[\"{\[\]}]", "a JSON text, as failed downloads leave it", _AGAIN),
)
_MATCHES: tuple[tuple[Callable[[bytes], object], str, str], ...] = tuple(
    (re.compile(pattern, re.DOTALL).match, name, mend) for pattern, name, mend in _KINDS
)


def recognised(data: bytes) -> tuple[str, str] | None:
    """Return what bytes are that begin like no JPEG, PNG or TIFF, such as "a GIF", and the mend; None for what is not known."""
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    return next(((name, mend) for matches, name, mend in _MATCHES if matches(head)), None)


def refusal(data: bytes) -> str:
    """Say what bytes are that begin like no JPEG, PNG or TIFF; the text follows the file's name in messages."""
    if not data:
        return "is empty: fetch or copy it again"
    if found := recognised(data):
        return f"{_NO} but {found[0]}: {found[1]}"
    head = data[:_HEAD]
    if data.count(0) == len(data):
        return f"{_NO}: it holds only zero bytes, as broken copies do: {_AGAIN}"
    for kind, magic in (("JPEG", jpeg.MAGIC), ("PNG", png.MAGIC)):
        if (at := head.find(magic)) > 0:
            return f"{_NO} from its first byte: a {kind} begins at byte {at}: cut off what stands before it"
    if head.isascii() and re.fullmatch(rb"[\t\n\r\f -~]+", head):
        return f"{_NO} but a text, which begins {head[:30].decode()!r}: {_AGAIN}"
    return f"{_NO}, or its header is damaged (it begins with the bytes {data[:8].hex(' ')}): {_AGAIN}"
