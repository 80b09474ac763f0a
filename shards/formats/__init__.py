"""Image formats by their headers: what is read, what is refused and why, before a pixel is decoded."""

from shards.formats import jpeg, other, png, tiff
from shards.formats.header import Header


def read_header(data: bytes) -> Header:
    """Read the header of an image; whatever the bytes are, the answer is a Header."""
    if data.startswith(jpeg.MAGIC):
        return jpeg.header(data)
    if data.startswith(png.MAGIC):
        return png.header(data)
    if data.startswith(tiff.MAGICS):
        return tiff.header(data)
    return Header("", other.refusal(data))


def what_it_is(start: bytes) -> tuple[str, str] | None:
    """Return what the first bytes of a file show that it is, whatever its name, and the mend; None where they show nothing."""
    if not start:
        return "empty", "fetch it again"
    kind = read_header(start).kind
    return (f"a {kind} image", "give it its own ending") if kind else other.recognised(start)
