"""Attention maps over pictures: where the model saw an attribute."""

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Map = NDArray[np.floating]

_COLORMAP = "inferno"
_GRAY = np.array([0.299, 0.587, 0.114])  # luma of RGB, ITU-R BT.601


def overlay(image: Pixels, attention: Map) -> Pixels:
    """Lay an attention map over a picture: bright and coloured where it is high, dark and gray where it is low.

    Args:
        image: RGB, [H, W, 3].
        attention: any finite range, [h, w]; it is enlarged (bilinear) and stretched to its own minimum and maximum.
            A constant map says nothing and is drawn as low everywhere.

    Returns:
        RGB, [H, W, 3].
    """
    height, width = image.shape[:2]
    low, high = float(attention.min()), float(attention.max())
    stretched = (attention - low) / (high - low) if high > low else np.zeros(attention.shape)
    grid = Image.fromarray(stretched.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    weight = np.asarray(grid)[..., None]
    gray = (image @ _GRAY)[..., None] * 0.55
    base = gray + (image - gray) * weight
    colour = mpl.colormaps[_COLORMAP](0.25 + 0.7 * weight[..., 0])[..., :3] * 255
    share = 0.15 + 0.4 * weight
    return np.asarray(np.clip(base * (1 - share) + colour * share, 0, 255).round(), np.uint8)
