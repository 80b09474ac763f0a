"""What the bytes of an image say of it before they are decoded."""

from typing import NamedTuple


class Header(NamedTuple):
    """What is known of an image by its header.

    Attributes:
        kind: "JPEG", "PNG" or "TIFF"; "" where it is none of these.
        refusal: why it is not packed or predicted, or ""; follows the image's name in messages.
        orientation: how the picture is to be turned, 1 (not at all) to 8, as EXIF's tag 274 counts; of a TIFF always 1,
            since Pillow turns it.
        deep: whether it has more than 8 bits a channel, which Pillow may cut off; never packed by any version.
        turbo: whether TurboJPEG decodes it.
        premultiplied: whether Pillow divides the colours by alpha.
    """

    kind: str
    refusal: str = ""
    orientation: int = 1
    deep: bool = False
    turbo: bool = False
    premultiplied: bool = False
