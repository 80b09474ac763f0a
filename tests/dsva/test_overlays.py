import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsva.report.overlays import AttributeMap, Pixels, overlay, panel


@pytest.fixture
def image() -> Pixels:
    rows, columns = np.mgrid[:40, :60]
    return np.stack([rows * 4, columns * 3, (rows + columns) % 2 * 120], -1).astype(np.uint8)


def decoded(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_overlay_is_brightest_and_most_coloured_at_the_peak() -> None:
    image = np.full((40, 60, 3), 128, np.uint8)
    attention = np.zeros((4, 6))
    attention[1, 4] = 1
    laid = overlay(image, attention).astype(int)
    assert laid.shape == image.shape
    row, column = np.unravel_index(laid.sum(-1).argmax(), laid.shape[:2])
    assert (row // 10, column // 10) == (1, 4)
    contrast = np.ptp(laid, axis=-1)
    assert contrast[15, 45] > 2 * contrast[35, 5]


@given(st.floats(0.01, 1e6), st.floats(-1e3, 1e3))
@settings(deadline=None)
def test_overlay_does_not_depend_on_the_maps_unit(scale: float, shift: float) -> None:
    image = np.full((12, 12, 3), (200, 90, 30), np.uint8)
    attention = np.arange(9.0).reshape(3, 3)
    moved = overlay(image, attention * scale + shift).astype(int)
    assert np.abs(moved - overlay(image, attention)).max() <= 1


def test_constant_map_is_low_everywhere(image: Pixels) -> None:
    spread = np.zeros((4, 6))
    spread[0, 5] = 1
    far_from_the_peak = (slice(20, None), slice(0, 30))
    assert np.array_equal(overlay(image, np.full((4, 6), 7.0))[far_from_the_peak], overlay(image, spread)[far_from_the_peak])


def maps(values: list[float]) -> list[AttributeMap]:
    return [AttributeMap(f"attribute {place}", value, np.eye(3) * value) for place, value in enumerate(values)]


def test_panel_shows_the_strongest_attributes_in_order(image: Pixels) -> None:
    shown = panel(image, maps([0.1, 0.9, 0.4]), "Port", "Port", k=2)
    assert shown == panel(image, [maps([0.1, 0.9, 0.4])[place] for place in (1, 2)], "Port", "Port")
    assert shown != panel(image, maps([0.1, 0.9, 0.4]), "Port", "Port", k=1)
    width = [decoded(panel(image, maps([0.1, 0.9, 0.4]), "Port", "Port", k=k)).shape[1] for k in (1, 2, 9)]
    assert width[1] / width[0] == pytest.approx(3 / 2, rel=0.01)
    assert width[2] / width[0] == pytest.approx(4 / 2, rel=0.01)


def test_panel_marks_region_and_verdict(image: Pixels) -> None:
    plain = decoded(panel(image, maps([1.0]), "Port", "Port")).astype(int)
    framed = decoded(panel(image, maps([1.0]), "Port", "Port", box=(10, 5, 50, 30))).astype(int)
    wrong = decoded(panel(image, maps([1.0]), "Port", "Bay")).astype(int)
    changed = np.abs(framed - plain).any(-1)
    assert changed[:, : plain.shape[1] // 2].any()
    assert not changed[:, plain.shape[1] // 2 :].any()
    title = plain.shape[0] // 5

    def ink(pixels: np.ndarray, high: int, low: int) -> int:
        return int((pixels[:title, :, high] - pixels[:title, :, low] > 30).sum())

    assert ink(plain, 1, 0) > 0 == ink(plain, 0, 1)
    assert ink(wrong, 0, 1) > 0 == ink(wrong, 1, 0)


def test_names_are_text_and_not_formulas(image: Pixels) -> None:
    odd = [AttributeMap(r"$\frac{1}$ & <b> _ ^", 1.0, np.eye(3))]
    assert decoded(panel(image, odd, "$x", "y_$")).ndim == 3
