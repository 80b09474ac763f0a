"""Connected components of many masks at once, by label propagation without a loop over images or pixels.

The scheme is that of Shiloach and Vishkin 1982 and FastSV (Zhang, Azad and Hu 2020): every pixel carries the
label of a tree's root, roots hook onto the lowest label beside them, pointer jumping flattens the trees.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def component_labels(masks: Tensor) -> Tensor:
    """Label the 8-connected components of each mask.

    Args:
        masks: [B, H, W] bool.

    Returns:
        [B, H, W] int64: the place, among all B * H * W pixels in raster order, of the first pixel of the
        component that a pixel belongs to; the background has B * H * W.
    """
    background = masks.numel()
    places = torch.arange(background, device=masks.device).view_as(masks)
    labels = _row_runs(masks, places)
    parents = torch.arange(background + 1, device=masks.device)
    while True:
        lowest = _lowest_neighbour(labels, background).masked_fill(~masks, background)
        # One look at the device per round, not per image; the maps of a few coarse cells take two or three.
        if torch.equal(lowest, labels):
            return labels
        parents.scatter_reduce_(0, labels.flatten(), lowest.flatten(), "amin")
        # The first round hooks each run onto one in the row above, so that no chain is longer than the mask is high.
        for _ in range(max(masks.shape[1] - 1, 1).bit_length()):
            parents = parents.index_select(0, parents)
        labels = parents.index_select(0, labels.flatten()).view_as(masks)


def largest_component(masks: Tensor) -> Tensor:
    """Keep only the component with the most pixels of each mask, the first in raster order on ties; [B, H, W] bool."""
    labels = component_labels(masks)
    pixels = masks[0].numel()
    sizes = torch.bincount(labels.flatten(), minlength=masks.numel() + 1)[:-1].view(len(masks), pixels)
    earliness = torch.arange(pixels - 1, -1, -1, device=masks.device)
    first = (sizes * pixels + earliness).argmax(1)
    root = first + pixels * torch.arange(len(masks), device=masks.device)
    return masks & (labels == root[:, None, None])


def _row_runs(masks: Tensor, places: Tensor) -> Tensor:
    """Label each pixel by the first of the uninterrupted run of its row: most of the work, in one pass."""
    starts = masks & ~F.pad(masks, (1, 0))[..., :-1]
    runs = torch.where(starts, places, -1).cummax(dim=2).values
    return torch.where(masks, runs, masks.numel())


def _lowest_neighbour(labels: Tensor, background: int) -> Tensor:
    """Return the lowest label of each pixel's 3 x 3 neighbourhood."""
    padded = F.pad(labels, (1, 1, 1, 1), value=background)
    rows = torch.minimum(torch.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return torch.minimum(torch.minimum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
