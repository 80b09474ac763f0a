"""Pixels: what happens to an image depends on its place in the run only, and is what numpy and Pillow say. 2 s."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from dsva.config import DataConfig
from dsva.pixels import STATISTICS, eval_pixels, training_pixels

# The name begins with test_, but it is no test.
middle_pixels = eval_pixels
del eval_pixels

HALF = 0.5 / 255  # what rounding in float32 may move a pixel by, far below the step between two values


def pictures(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8))


def in_unit(pixels: torch.Tensor, config: DataConfig) -> np.ndarray:
    """Undo the normalisation: [b, 3, h, w] to [b, h, w, 3] in [0, 1]."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in STATISTICS[config.normalize])
    return (pixels * std + mean).permute(0, 2, 3, 1).numpy()


def changes(window: np.ndarray, config: DataConfig) -> Iterator[np.ndarray]:
    """Yield the window in every mirroring and turn that the configuration allows."""
    for mirrored in (window, window[:, ::-1])[: 1 + config.flip]:
        yield from (np.rot90(mirrored, turns) for turns in range(4 if config.rotate else 1))


def how(pixels: np.ndarray, picture: np.ndarray, config: DataConfig) -> tuple[int, int, int]:
    """Find the crop and change of `picture` that gives exactly `pixels`: (top, left, number of the change)."""
    size, room = config.image_size, config.resize - config.image_size
    for top in range(room + 1):
        for left in range(room + 1):
            window = picture[top : top + size, left : left + size] / 255
            for number, changed in enumerate(changes(window, config)):
                if np.abs(changed - pixels).max() < HALF:
                    return top, left, number
    raise AssertionError("the pixels are not those of any crop")


@pytest.mark.parametrize(("flip", "rotate"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("normalize", ["clip", "imagenet"])
def test_a_crop_at_one_scale_copies_pixels_and_takes_every_place_and_turn(flip: bool, rotate: bool, normalize: str) -> None:
    config = DataConfig.model_validate({"image_size": 16, "resize": 18, "flip": flip, "rotate": rotate, "normalize": normalize})
    picture = pictures(1, 18)
    count = 400
    made = in_unit(training_pixels(picture.expand(count, -1, -1, -1), config, 1, 2, np.arange(count)), config)
    found = [how(pixels, picture[0].numpy(), config) for pixels in made]
    tops, lefts, numbers = (np.array(column) for column in zip(*found, strict=True))
    kinds = (1 + flip) * (4 if rotate else 1)
    for values, many in ((tops, 3), (lefts, 3), (numbers, kinds)):
        counts = np.bincount(values, minlength=many)
        # Uniform draws: each within five standard deviations of its share.
        assert np.abs(counts - count / many).max() <= 5 * np.sqrt(count / many)


@pytest.mark.parametrize("side", [36, 50])
def test_pixels_depend_on_seed_step_and_position_and_not_on_how_the_batch_is_cut(side: int) -> None:
    config = DataConfig(image_size=32, resize=36, rotate=True, min_scale=0.5)
    images, positions = pictures(12, side), np.arange(12)
    whole = training_pixels(images, config, 5, 7, positions)
    cut = [training_pixels(images[part], config, 5, 7, positions[part]) for part in (slice(5), slice(5, 6), slice(6, 12))]
    torch.testing.assert_close(torch.cat(cut), whole, rtol=0, atol=1e-5)
    backwards = training_pixels(images.flip(0), config, 5, 7, positions[::-1].copy())
    torch.testing.assert_close(backwards.flip(0), whole, rtol=0, atol=1e-5)
    for seed, step in ((6, 7), (5, 8)):
        assert not torch.isclose(training_pixels(images, config, seed, step, positions), whole).flatten(1).all(1).any()


@pytest.mark.parametrize("side", [36, 50])
def test_a_crop_at_one_scale_is_what_sampling_at_nearly_that_scale_gives(side: int) -> None:
    copied = DataConfig(image_size=32, resize=32, rotate=True)
    sampled = copied.model_copy(update={"min_scale": 1 - 1e-9})
    images, places = pictures(40, side), np.arange(40)
    made = [training_pixels(images, config, 1, 2, places) for config in (copied, sampled)]
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=1e-3)


def test_random_scales_show_windows_between_the_smallest_and_the_whole() -> None:
    # A picture whose red tells the row and whose green tells the column shows where each window was.
    side, size = 64, 32
    rows, columns = np.mgrid[:side, :side] * 2
    picture = torch.from_numpy(np.stack([rows, columns, 0 * rows], 2).astype(np.uint8))
    config = DataConfig(image_size=size, resize=side, min_scale=0.5, flip=False)
    made = in_unit(training_pixels(picture.expand(300, -1, -1, -1), config, 0, 0, np.arange(300)), config) * 255 / 2
    rows, columns = made[:, :, size // 2, 0], made[:, size // 2, :, 1]
    for lines in (rows, columns):
        assert lines.min() > -0.01
        assert lines.max() < side - 1 + 0.01
        # Inside the border, where there is nothing to interpolate with, the lines are straight.
        steps = np.diff(lines[:, 1:-1], axis=1)
        np.testing.assert_allclose(steps, steps[:, :1].repeat(size - 3, 1), atol=0.01)
        assert steps.min() > 0.49
        assert steps.max() < 1.01
        assert np.ptp(steps[:, 0]) > 0.45
    np.testing.assert_allclose(rows[:, -2] - rows[:, 1], columns[:, -2] - columns[:, 1], atol=0.01)  # squares stay squares


def test_test_pixels_are_the_middle() -> None:
    config = DataConfig(image_size=30, resize=36)
    images = pictures(4, 36)
    np.testing.assert_allclose(in_unit(middle_pixels(images, config), config), images[:, 3:33, 3:33].numpy() / 255, atol=1e-6)


@pytest.mark.parametrize("side", [24, 36, 73, 100])
def test_scaling_is_that_of_pillow(side: int) -> None:
    config = DataConfig(image_size=36, resize=36)
    images = pictures(3, side, seed=side)
    scaled = [np.asarray(Image.fromarray(i.numpy()).resize((36, 36), Image.Resampling.BILINEAR)) for i in images]
    # Pillow rounds to whole values after each of its two passes.
    np.testing.assert_allclose(in_unit(middle_pixels(images, config), config) * 255, np.stack(scaled), atol=1.01)


def test_the_middle_of_training_is_that_of_the_test_where_nothing_is_random() -> None:
    config = DataConfig(image_size=32, resize=32, flip=False)
    images = pictures(5, 48)
    torch.testing.assert_close(
        training_pixels(images, config, 3, 4, np.arange(5)), middle_pixels(images, config), rtol=0, atol=1e-4
    )
