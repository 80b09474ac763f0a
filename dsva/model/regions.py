"""Attention concentration: the region of an image that the strongest attributes of all groups look at.

Everything is batched and stays on the device; nothing here has a gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dsva.model.components import largest_component


@torch.no_grad()
def region_boxes(maps: Tensor, proto: Tensor, groups: Tensor, size: int, threshold: float) -> Tensor:
    """Find each image's region.

    Of every group the map of the attribute with the highest prototype score is scaled up (bilinear, corners
    aligned) and to the range 0..1; their mean is cut at `threshold` times its own mean over the image. The box
    of the largest 8-connected component is the region. Without any such pixel, or where a map is constant (the
    published code divides 0 by 0 there), it is the whole image.

    Args:
        maps: attention maps, [B, K, h, w].
        proto: scores of the prototype head, [B, K].
        groups: which attributes belong to which group, [G, K] bool.
        size: height and width of the image, pixels.
        threshold: share of the map's mean that a pixel must exceed.

    Returns:
        [B, 4] int64: top, left, bottom and right, the latter two exclusive, in pixels.
    """
    strongest = proto[:, None].masked_fill(~groups, -torch.inf).argmax(2)
    images = torch.arange(len(maps), device=maps.device)
    cells = maps[images[:, None], strongest].float()
    # Told from the cells, since scaling up would round a constant into a pattern.
    constant = (cells.amin((2, 3)) == cells.amax((2, 3))).any(1)
    chosen = F.interpolate(cells, (size, size), mode="bilinear", align_corners=True)
    low, high = chosen.amin((2, 3), keepdim=True), chosen.amax((2, 3), keepdim=True)
    concentration = ((chosen - low) / (high - low)).mean(1)
    masks = concentration > threshold * concentration.mean((1, 2), keepdim=True)
    return bounding_boxes(largest_component(masks & ~constant[:, None, None]))


def bounding_boxes(masks: Tensor) -> Tensor:
    """Return the box around each mask's pixels, or the whole image if it has none.

    Args:
        masks: [B, S, S] bool.

    Returns:
        [B, 4] int64: top, left, bottom and right, the latter two exclusive.
    """
    size = masks.shape[1]
    places = torch.arange(size, device=masks.device)
    occupied = torch.stack([masks.any(2), masks.any(1)], 1)
    starts = torch.where(occupied, places, size).amin(2)
    ends = torch.where(occupied, places + 1, 0).amax(2)
    empty = ~masks.any(2).any(1)[:, None]
    return torch.cat([starts.masked_fill(empty, 0), ends.masked_fill(empty, size)], 1)


@torch.no_grad()
def crop_and_resize(images: Tensor, boxes: Tensor) -> Tensor:
    """Scale each image's box to the image's own size, bilinear with corners aligned; the aspect is not kept.

    Args:
        images: [B, 3, S, S].
        boxes: [B, 4] as from `region_boxes`.

    Returns:
        [B, 3, S, S] float32.
    """
    size = images.shape[-1]
    steps = torch.linspace(0, 1, size, device=images.device)
    starts, ends = boxes[:, :2, None].float(), boxes[:, 2:, None].float()
    pixels = starts + steps * (ends - 1 - starts)
    rows, columns = (pixels * 2 / (size - 1) - 1).unbind(1)
    grid = torch.stack([columns[:, None].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)], -1)
    return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=True)
