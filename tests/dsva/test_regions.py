"""Connected components and region boxes against scipy, crops against plain interpolation (about 2 s)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dsva.model.components import component_labels, largest_component
from dsva.model.regions import bounding_boxes, crop_and_resize, region_boxes

EIGHT = np.ones((3, 3), int)


def scipy_labels(masks: Tensor) -> Tensor:
    """Label each component by its first pixel among all masks' pixels, as the function under test does."""
    labels = np.full(masks.shape, masks.numel())
    for place, mask in enumerate(masks.numpy()):
        numbers, _ = ndimage.label(mask, EIGHT)
        for number in range(1, numbers.max() + 1):
            labels[place][numbers == number] = place * mask.size + np.flatnonzero(numbers == number)[0]
    return torch.from_numpy(labels)


def scipy_box(mask: NDArray[np.bool_]) -> list[int]:
    numbers, count = ndimage.label(mask, EIGHT)
    if not count:
        return [0, 0, *mask.shape]
    rows, columns = ndimage.find_objects(numbers)[np.bincount(numbers.ravel())[1:].argmax()]
    return [rows.start, columns.start, rows.stop, columns.stop]


def spiral(side: int) -> Tensor:
    """One component that winds inwards, one pixel wide: as long a path as fits."""
    mask = np.zeros((side, side), bool)
    row, column, step = 0, -1, (0, 1)
    length, turns = side, 0
    while length > 0:
        for _ in range(length):
            row, column = row + step[0], column + step[1]
            mask[row, column] = True
        step, turns = (step[1], -step[0]), turns + 1
        length = side - 1 if turns < 3 else length - 2 * (turns % 2)
    return torch.from_numpy(mask)


@pytest.fixture(scope="module")
def shapes() -> Tensor:
    side = 41
    grid = torch.arange(side)
    empty = torch.zeros(side, side, dtype=torch.bool)
    ties = empty.clone()
    ties[30:33, 2:4] = ties[5:7, 30:33] = ties[5:7, 2:5] = True
    winding = spiral(side)
    return torch.stack(
        [
            empty,
            ~empty,
            ties,
            winding,
            winding.flip(0),
            winding.T.flip(1),
            ~winding,
            (grid[:, None] + grid) % 2 == 0,
            (grid[:, None] % 2 == 0).expand(side, side),
            (grid % 2 == 0).expand(side, side),
            (grid[:, None] % 2 == 0) & (grid % 2 == 0),
            torch.eye(side).bool() | torch.eye(side).flip(0).bool(),
        ]
    )


def check(masks: Tensor) -> None:
    labels = scipy_labels(masks)
    assert torch.equal(component_labels(masks), labels)
    assert bounding_boxes(largest_component(masks)).tolist() == [scipy_box(mask) for mask in masks.numpy()]


def test_components_of_hard_shapes(shapes: Tensor) -> None:
    assert shapes[3].sum() > 41 * 41 // 3
    check(shapes)


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 40), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_components_of_random_masks(count: int, side: int, density: float, seed: int) -> None:
    check(torch.from_numpy(np.random.default_rng(seed).random((count, side, side)) < density))


def test_first_of_equally_large_components(shapes: Tensor) -> None:
    assert bounding_boxes(largest_component(shapes[2:3])).tolist() == [[5, 2, 7, 5]]


@settings(max_examples=30)
@given(st.integers(2, 9), st.sampled_from([1.0, 0.5, 1.4]), st.integers(0, 2**32 - 1))
def test_boxes_are_those_of_one_image_at_a_time(cells: int, threshold: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    maps, proto = torch.randn(4, 7, cells, cells, generator=random), torch.randn(4, 7, generator=random)
    groups = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]).bool()
    expected = []
    for image, scores in zip(maps, proto, strict=True):
        chosen = image[[int(scores[:3].argmax()), 3, 4 + int(scores[4:].argmax())]]
        scaled = F.interpolate(chosen[None], (60, 60), mode="bilinear", align_corners=True)[0]
        ranges = [(one - one.min()) / (one.max() - one.min()) for one in scaled]
        mean = torch.stack(ranges).mean(0)
        expected.append(scipy_box((mean > threshold * mean.mean()).numpy()))
    assert region_boxes(maps, proto, groups, 60, threshold).tolist() == expected


@pytest.mark.parametrize("value", [0.0, 3.5, torch.nan])
def test_map_without_a_peak_means_the_whole_image(value: float) -> None:
    maps = torch.zeros(2, 3, 5, 5)
    maps[:, :, 2, 2] = 1.0
    maps[1, 2] = value
    proto = torch.tensor([[1.0, 0, 1], [1, 0, 1]])
    boxes = region_boxes(maps, proto, torch.tensor([[1, 1, 0], [0, 0, 1]]).bool(), 40, 1.0)
    assert boxes.tolist() == [[11, 11, 29, 29], [0, 0, 40, 40]]


def test_region_lies_at_the_peak_of_the_strongest_attribute() -> None:
    maps = torch.zeros(2, 2, 8, 8)
    maps[:, 0, 1, 1] = maps[:, 1, 6, 5] = 1.0
    boxes = region_boxes(maps, torch.tensor([[2.0, 1], [1, 2]]), torch.ones(1, 2).bool(), 64, 1.0)
    for box, (row, column) in zip(boxes.tolist(), [(1, 1), (6, 5)], strict=True):
        peak = [row * 63 / 7, column * 63 / 7]
        assert box[0] < peak[0] < box[2] < box[0] + 22
        assert box[1] < peak[1] < box[3] < box[1] + 22


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 32)] * 4), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_crops_are_those_of_plain_interpolation(corners: list[tuple[int, int, int, int]], seed: int) -> None:
    boxes = torch.tensor([[min(a, b), min(c, d), max(a, b) + 1, max(c, d) + 1] for a, b, c, d in corners])
    images = torch.randn(len(boxes), 3, 33, 33, generator=torch.Generator().manual_seed(seed))
    crops = crop_and_resize(images, boxes)
    for image, (top, left, bottom, right), crop in zip(images, boxes.tolist(), crops, strict=True):
        expected = F.interpolate(image[None, :, top:bottom, left:right], (33, 33), mode="bilinear", align_corners=True)[0]
        torch.testing.assert_close(crop, expected, rtol=1e-4, atol=1e-4)


def test_whole_image_is_its_own_crop() -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(crop_and_resize(images, torch.tensor([[0, 0, 224, 224]] * 2)), images, rtol=1e-4, atol=1e-4)
