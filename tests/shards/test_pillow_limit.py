"""How large an image may be is said by the one who reads it; Pillow's limit is for the images that the program around us opens."""

import io
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shards.decode import decode_into
from shards.image_checks import BadImage, inspect, resized
from tests.helpers.odd_images import SIDE, colours, encoded, with_orientation

KINDS = {
    "jpeg": encoded(colours(), "JPEG"),
    "turned jpeg": with_orientation(Image.fromarray(colours()), "JPEG", 6),
    "png": encoded(colours(), "PNG"),
    "tiff": encoded(colours(), "TIFF"),
    "compressed tiff": encoded(colours(), "TIFF", compression="tiff_lzw"),
    "turned tiff": with_orientation(Image.fromarray(colours()[: SIDE // 2]), "TIFF", 6),
    "tiff with a palette": encoded(Image.fromarray(colours()).quantize(16), "TIFF"),
}


@pytest.fixture(params=["as it is", "a warning", "an error"])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pillow warns of more pixels than its limit, and refuses more than twice as many; here a warning is an error."""
    if request.param != "as it is":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIDE * SIDE // 2 + 10 if request.param == "a warning" else 100)
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("limit")
def test_an_image_that_our_limit_allows_is_read_whatever_pillows_is(kind: str) -> None:
    data = KINDS[kind]
    facts = inspect(data)
    assert resized(data, 8)[1]

    def decoded(side: int) -> np.ndarray:
        out = np.zeros((side, side, 3), np.uint8)
        decode_into(data, facts.width, facts.height, out)
        return out

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(decoded, [12] * 8)
    assert first.std() > 10
    assert all((other == first).all() for other in others)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("limit")
def test_our_limit_holds_whatever_pillows_is(kind: str) -> None:
    facts = inspect(KINDS[kind])
    with pytest.raises(BadImage, match="more than"):
        inspect(KINDS[kind], max_pixels=facts.width * facts.height - 1)


def test_pillow_still_guards_the_images_that_the_program_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    inspect(KINDS["png"])
    with pytest.raises(Image.DecompressionBombError), Image.open(io.BytesIO(KINDS["png"])):
        pass
