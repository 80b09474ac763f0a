"""An explanation as a picture: the image, the maps of the attributes that decided, and what each attribute added."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from dsva.inference.explain import Explanation
from dsva.pictures.drawing import picture
from dsva.pictures.lettering import short
from dsva.report.overlays import Pixels, overlay

MAPS, FOR, AGAINST = 4, 5, 2  # maps that are drawn, attributes with bars for the decision and against it
_RIGHT, _WRONG, _BOX, _QUIET, _RIVAL = "#1a7f4b", "#b3261e", "#00e5ff", "#555555", "#b35c00"


def panel(image: Pixels, explanation: Explanation) -> bytes:
    """Draw an explanation.

    Args:
        image: the model's input as RGB, [S, S, 3].
        explanation: of the decision on it.

    Returns:
        A PNG file; the same input gives the same bytes.
    """
    drawn, data = io.BytesIO(), io.BytesIO()
    with picture(drawn, 12.2, 2.25, dpi=110) as figure:
        grid = figure.add_gridspec(
            1, MAPS + 3, width_ratios=[1.5] * (MAPS + 1) + [1.95, 1.75], left=0.004, right=0.985, bottom=0.13, top=0.79, wspace=0.06
        )
        _picture(figure.add_subplot(grid[0, 0]), image, explanation)
        for place, attribute in enumerate(explanation.deciding(MAPS)):
            tile = figure.add_subplot(grid[0, place + 1])
            subtitle = f"margin {explanation.margins[attribute]:+.2f}"
            _tile(tile, overlay(image, explanation.maps[attribute]), explanation.names[attribute], subtitle, _QUIET)
        shown = _shown(explanation)
        # The names of the attributes stand in the space of the first of the two columns.
        _bars(figure.add_subplot(grid[0, -2].subgridspec(1, 2, width_ratios=[1.15, 1])[1]), explanation, shown)
        _rows(figure.add_subplot(grid[0, -1]), explanation, shown)
    # A third of the size with 256 colours and without metadata.
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    return data.getvalue()


def _shown(explanation: Explanation) -> list[int]:
    ranked = explanation.deciding(len(explanation.names))
    return ranked if len(ranked) <= FOR + AGAINST else ranked[:FOR] + ranked[-AGAINST:]


def _picture(axis: Axes, image: Pixels, explanation: Explanation) -> None:
    mark, colour = "", _QUIET
    if explanation.true:
        right = explanation.predicted == explanation.true
        mark, colour = ("\N{CHECK MARK} ", _RIGHT) if right else ("\N{BALLOT X} ", _WRONG)
    _tile(axis, image, explanation.true or "class unknown", f"{mark}predicted {explanation.predicted}", colour)
    if explanation.box:
        left, top, right_, bottom = explanation.box
        for width, ink in ((3.6, "black"), (1.8, _BOX)):
            axis.add_patch(Rectangle((left - 0.5, top - 0.5), right_ - left, bottom - top, fill=False, lw=width, ec=ink))


def _bars(axis: Axes, explanation: Explanation, shown: Sequence[int]) -> None:
    """Draw the margins, and what all other attributes add to them, which together are the scores' difference."""
    margins = [float(explanation.margins[place]) for place in shown]
    names = [short(explanation.names[place], 22) for place in shown]
    if others := len(explanation.names) - len(shown):
        margins.append(float(explanation.margins.sum()) - sum(margins))
        names.append(f"{others} others")
    places = range(len(margins))
    axis.barh(places, margins, color=[_RIGHT if margin > 0 else _WRONG for margin in margins], height=0.7)
    axis.set_yticks(places, names, fontsize=6.5)
    rival = f" against {short(explanation.rival, 20)}" if explanation.rival else ""
    difference = explanation.score - explanation.rival_score
    _heading(axis, f"for {short(explanation.predicted, 20)}{rival}", f"all together {difference:+.2f}")
    axis.axvline(0, color=_QUIET, lw=0.6)
    axis.invert_yaxis()
    axis.tick_params(axis="x", labelsize=6)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _rows(axis: Axes, explanation: Explanation, shown: Sequence[int]) -> None:
    """Draw the image's attributes beside those of the two classes."""
    places = range(len(shown))
    for row, colour, marker in ((explanation.row, _RIGHT, "|"), (explanation.rival_row, _RIVAL, "|")):
        if explanation.rival or row is explanation.row:
            axis.plot([row[place] for place in shown], places, marker, color=colour, ms=9, mew=2)
    axis.plot([explanation.values[place] for place in shown], places, "o", color="#111111", ms=3.5)
    axis.set_yticks(places, [""] * len(shown))
    extra = 0.5 + (len(explanation.names) > len(shown))
    axis.set_ylim(len(shown) - 1 + extra, -0.5)
    axis.axvline(0, color=_QUIET, lw=0.6)
    axis.tick_params(axis="x", labelsize=6)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(axis="y", lw=0.3)
    _heading(axis, "attributes: \N{BLACK CIRCLE} image", "")
    for text, colour, x, side in ((explanation.predicted, _RIGHT, 0, "left"), (explanation.rival, _RIVAL, 1, "right")):
        if text:
            note = axis.annotate(f"| {short(text, 16)}", (x, 1), (0, 5), "axes fraction", "offset points", ha=side)
            note.set(size=7, color=colour)


def _heading(axis: Axes, title: str, subtitle: str) -> None:
    for points, text, size, weight, ink in ((17, title, 7.5, "bold", "#111111"), (5, subtitle, 7, "normal", _QUIET)):
        left = 0 if title.startswith("attributes") else 1
        above = axis.annotate(text, (left, 1), (0, points), "axes fraction", "offset points")
        above.set(size=size, weight=weight, color=ink, ha="right" if left else "left")


def _tile(axis: Axes, image: Pixels, title: str, subtitle: str, colour: str) -> None:
    axis.imshow(image, interpolation="lanczos")
    axis.set_axis_off()
    axis.set_anchor("N")
    for points, text, longest, size, weight, ink in ((17, title, 20, 8, "bold", "#111111"), (5, subtitle, 26, 7, "normal", colour)):
        above = axis.annotate(short(text, longest), (0, 1), (0, points), "axes fraction", "offset points")
        above.set(size=size, weight=weight, color=ink)
