"""Attention maps over pictures: what the model looked at for an attribute, as PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Map = NDArray[np.floating]
Box = tuple[int, int, int, int]

_COLORMAP = "inferno"
_GRAY = np.array([0.299, 0.587, 0.114])  # luma of RGB, ITU-R BT.601
_RIGHT, _WRONG, _BOX = "#1a7f4b", "#b3261e", "#00e5ff"


@dataclass(frozen=True)
class AttributeMap:
    """One attribute of one picture.

    Attributes:
        name: of the attribute.
        value: that the model gives it.
        map: its attention map, [h, w] at the resolution of the patches.
    """

    name: str
    value: float
    map: Map


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


def panel(
    image: Pixels, attributes: Sequence[AttributeMap], true: str, predicted: str, *, box: Box | None = None, k: int = 4
) -> bytes:
    """Draw a picture beside the attention maps of its strongest attributes.

    Args:
        image: RGB, [H, W, 3].
        attributes: of the picture; the `k` of highest value are drawn, highest first.
        true: class of the picture.
        predicted: class that the model chose; it is marked right or wrong.
        box: region chosen by attention, (left, top, right, bottom) in pixels, drawn as a frame.
        k: how many maps.

    Returns:
        A PNG file; the same input gives the same bytes.
    """
    shown = sorted(attributes, key=lambda attribute: -attribute.value)[:k]
    tiles = 1 + len(shown)
    figure = Figure(figsize=(1.5 * tiles, 1.98), dpi=110, facecolor="white")
    axes = figure.subplots(1, tiles, squeeze=False)[0]
    figure.subplots_adjust(left=0.008, right=0.992, bottom=0.02, top=0.76, wspace=0.05)
    mark, verdict = ("\N{CHECK MARK}", _RIGHT) if predicted == true else ("\N{BALLOT X}", _WRONG)
    _tile(axes[0], image, true, f"{mark} predicted {predicted}", verdict)
    if box:
        left, top, right, bottom = box
        for width, colour in ((3.6, "black"), (1.8, _BOX)):
            axes[0].add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, lw=width, ec=colour))
    for axis, attribute in zip(axes[1:], shown, strict=True):
        _tile(axis, overlay(image, attribute.map), attribute.name, f"{attribute.value:.2f}", "#444444")
    drawn, data = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").save(data, "PNG")  # half the size without transparency and metadata
    return data.getvalue()


def _tile(axis: Axes, image: Pixels, title: str, subtitle: str, colour: str) -> None:
    axis.imshow(image, interpolation="lanczos")
    axis.set_axis_off()
    axis.set_anchor("N")
    for points, text, longest, size, weight, ink in ((17, title, 20, 8, "bold", "#111111"), (5, subtitle, 26, 7, "normal", colour)):
        short = text if len(text) <= longest else text[: longest - 1] + "…"
        above = axis.annotate(short, (0, 1), (0, points), "axes fraction", "offset points", parse_math=False)
        above.set(size=size, weight=weight, color=ink)
