"""What a file really is that has another one's name: told by its first bytes."""

_MAGIC = {
    b"\x1f\x8b": "a gzip file: unpack it with gunzip",
    b"BZh": "a bzip2 file: unpack it with bunzip2",
    b"\xfd7zXZ\0": "an xz file: unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "a zstd file: unpack it with unzstd",
    b"PK\x03\x04": "a ZIP file: unpack it with unzip",
    b"7z\xbc\xaf\x27\x1c": "a 7z file: unpack it with 7z",
    b"Rar!": "a RAR file: unpack it with unrar",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer, which only names the file: fetch it with `git lfs pull`",
}
_PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<head")
_PAGE = "a web page, as a failed download leaves it: fetch the file again"


def what_it_is(start: bytes) -> str | None:
    """Return what the first kilobyte of a file shows it to be, and where there is one the mend; None where it shows nothing."""
    if not start:
        return "empty: fetch it again"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith(_PAGES):
        return _PAGE
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
