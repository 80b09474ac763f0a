import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsva.report.overlays import Pixels, overlay


@pytest.fixture
def image() -> Pixels:
    rows, columns = np.mgrid[:40, :60]
    return np.stack([rows * 4, columns * 3, (rows + columns) % 2 * 120], -1).astype(np.uint8)


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
