"""What training makes of a picture, pixel by pixel: drawn, cropped, mirrored and turned as the hashes say, in plain numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dsva.config import DataConfig
from dsva.pixels import STATISTICS, shown_pixels, training_pixels
from shards.hashing import AUGMENT, uniform

SIZE, RESIZE = 16, 24


def test_statistics_are_those_of_the_published_networks() -> None:
    clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    assert {"clip": clip, "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))} == STATISTICS


def interpolated(picture: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample a picture [h, w, 3] where rows and columns cross, bilinear, its border going on for ever."""
    rows, columns = np.clip(rows, 0, len(picture) - 1), np.clip(columns, 0, picture.shape[1] - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    below, right = np.minimum(top + 1, len(picture) - 1), np.minimum(left + 1, picture.shape[1] - 1)
    down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = picture[top][:, left] * (1 - across) + picture[top][:, right] * across
    lower = picture[below][:, left] * (1 - across) + picture[below][:, right] * across
    return np.asarray(upper * (1 - down) + lower * down)


@pytest.mark.parametrize("min_scale", [1.0, 0.5])
def test_each_picture_is_changed_as_its_draws_say(min_scale: float) -> None:
    config = DataConfig(image_size=SIZE, resize=RESIZE, rotate=True, min_scale=min_scale)
    count, seed, step = 40, 3, 11
    pictures = np.random.RandomState(0).randint(0, 256, (count, RESIZE, RESIZE, 3)).astype(np.uint8)
    made = training_pixels(torch.from_numpy(pictures), config, seed, step, np.arange(100, 100 + count))
    met = set()
    for place in range(count):
        scale, left, top, mirror, turn = (float(uniform(seed, AUGMENT, step, 100 + place, which)) for which in range(5))
        side = SIZE * (min_scale + (1 - min_scale) * scale)
        row, column = top * (RESIZE - side), left * (RESIZE - side)
        if min_scale == 1:  # whole pixels
            row, column = np.floor(top * (RESIZE - SIZE + 1)), np.floor(left * (RESIZE - SIZE + 1))
        cells = (np.arange(SIZE) + 0.5) * side / SIZE - 0.5
        window = interpolated(pictures[place].astype(float), row + cells, column + cells)
        turned = np.rot90(window, int(turn * 4))
        changed = turned[:, ::-1] if mirror < 0.5 else turned
        mean, deviation = (np.array(values) * 255 for values in STATISTICS["clip"])
        np.testing.assert_allclose(made[place].permute(1, 2, 0), (changed - mean) / deviation, rtol=0, atol=1e-4)
        met.add((mirror < 0.5, int(turn * 4)))
    assert len(met) == 8


def test_shown_pixels_are_the_picture_again() -> None:
    config = DataConfig(image_size=SIZE, resize=SIZE, flip=False)
    pictures = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8))
    np.testing.assert_array_equal(shown_pixels(training_pixels(pictures, config, 0, 0, np.arange(3)), config), pictures)
