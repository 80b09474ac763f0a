"""uint8 batches to the model's input, whole batches at a time on the device.

What happens to an image is a function of (seed, step, position in the global batch) alone, so it does
not depend on the number of ranks, workers or restarts.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dsva.config import DataConfig
from shards.hashing import AUGMENT, uniform
from shards.order import Ids

# Mean and standard deviation of RGB in [0, 1]: CLIP's training images (Radford et al. 2021); ImageNet.
STATISTICS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def training_pixels(images: Tensor, config: DataConfig, seed: int, step: int, positions: Ids) -> Tensor:
    """Scale, crop at random, mirror and turn training images.

    Args:
        images: uint8 RGB, [b, side, side, 3].
        config: sizes and which of the changes are made.
        seed: of the run.
        step: of the run.
        positions: places of the images in the global batch, [b].

    Returns:
        Normalised floats, [b, 3, image_size, image_size].
    """
    scaled, draws = _scaled(images, config), uniform(seed, AUGMENT, step, positions[:, None], np.arange(5))
    if config.min_scale == 1:
        return _normalised(_copied(scaled, config, draws), config)
    windows = torch.from_numpy(_windows(config, draws)).to(scaled.device, torch.float32)
    grid = F.affine_grid(windows, [len(scaled), 3, config.image_size, config.image_size], align_corners=False)
    return _normalised(F.grid_sample(scaled.float(), grid, padding_mode="border", align_corners=False), config)


def eval_pixels(images: Tensor, config: DataConfig) -> Tensor:
    """Scale test images and take their middle, [b, 3, image_size, image_size]."""
    scaled = _scaled(images, config)
    start = (config.resize - config.image_size) // 2
    middle = slice(start, start + config.image_size)
    return _normalised(scaled[:, :, middle, middle], config)


def shown_pixels(pixels: Tensor, config: DataConfig) -> NDArray[np.uint8]:
    """Undo the normalisation: the model's input, [b, 3, S, S], as RGB for people, [b, S, S, 3]."""
    mean, std = _statistics(pixels, config)
    return (pixels * std + mean).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def _scaled(images: Tensor, config: DataConfig) -> Tensor:
    pixels = images.permute(0, 3, 1, 2)
    if pixels.shape[-1] == config.resize:
        return pixels
    # antialias smooths when shrinking, as Pillow's bilinear resize in the published pipeline does
    return F.interpolate(pixels.float(), size=(config.resize, config.resize), mode="bilinear", antialias=True, align_corners=False)


def _normalised(pixels: Tensor, config: DataConfig) -> Tensor:
    mean, std = _statistics(pixels, config)
    return (pixels - mean).div_(std)


def _statistics(pixels: Tensor, config: DataConfig) -> list[Tensor]:
    return [torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) * 255 for values in STATISTICS[config.normalize]]


def _copied(scaled: Tensor, config: DataConfig, draws: NDArray[np.float64]) -> Tensor:
    """Crop at one scale: copies of whole pixels, exact and much cheaper than sampling them.

    Args:
        scaled: [b, 3, resize, resize].
        config: sizes and which of the changes are made.
        draws: uniform numbers, [b, 5]: for scale, left, top, mirror, turn.
    """
    size = config.image_size
    corners = np.floor(draws[:, 1:3] * (config.resize - size + 1)).astype(int).tolist()
    mirrors, turns = _changes(config, draws)
    # In the terms of `_windows`: mirrored first, then turned, seen from the output.
    windows = [
        torch.rot90(pixels[:, top : top + size, left : left + size], int(turn), (1, 2))
        for pixels, (left, top), turn in zip(scaled, corners, turns, strict=True)
    ]
    return torch.stack([window.flip(2) if mirror else window for window, mirror in zip(windows, mirrors, strict=True)])


def _changes(config: DataConfig, draws: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which images are mirrored, and by how many right angles each is turned, [b] each."""
    return (draws[:, 3] < 0.5) & config.flip, np.floor(draws[:, 4] * 4) * config.rotate


def _windows(config: DataConfig, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine maps from output to input coordinates in [-1, 1], [b, 2, 3]; `draws` as for `_copied`."""
    side = config.image_size * (config.min_scale + (1 - config.min_scale) * draws[:, 0])
    corners = draws[:, 1:3] * (config.resize - side)[:, None]
    mirrors, turns = _changes(config, draws)
    sign, angle = np.where(mirrors, -1.0, 1.0), turns * (math.pi / 2)
    cos, sin = np.round(np.cos(angle)), np.round(np.sin(angle))
    scale = side / config.resize
    shift = (2 * corners + side[:, None]) / config.resize - 1
    rows = [
        np.stack([scale * cos * sign, -scale * sin, shift[:, 0]], 1),
        np.stack([scale * sin * sign, scale * cos, shift[:, 1]], 1),
    ]
    return np.stack(rows, 1)
