"""Pictures of results as PNG files: the confusion matrix, and S against U over all gammas."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from numpy.typing import NDArray

from dsva.evaluation.metrics import Curve, harmonic
from dsva.pictures.drawing import picture
from dsva.pictures.lettering import columns, short

MAX_NUMBERED = 40  # with more classes the cells are too small for numbers
LETTER = 0.58 / 72  # width of an average letter, inches for each point of its size


def draw_confusion(path: Path, counts: NDArray[np.int64], classes: Sequence[str], n_seen: int, title: str) -> None:
    """Draw counts [C, C] (true class by predicted class, seen before unseen) as the share of each row, in percent."""
    total = counts.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    numbered = len(classes) <= MAX_NUMBERED
    font = 8 if numbered else 7
    # Places in inches, names as plain texts: laying out ticks would take four times as long.
    side = max(3.2, len(classes) * (0.27 if numbered else 0.17))
    shown = [short(name) for name in classes]
    names = 0.2 + max(map(columns, shown)) * LETTER * font
    width, height = names + side + 1.5, names + side + 0.8
    with picture(path, width, height) as figure:
        left, bottom = (names + 0.3) / width, (names + 0.3) / height
        axes = figure.add_axes((left, bottom, side / width, side / height))
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100))  # square root, so that rare confusions show
        axes.set_xticks([])
        axes.set_yticks([])
        for place, name in enumerate(shown):
            axes.text(place, len(classes) - 0.3, name, rotation=90, fontsize=font, ha="center", va="top")
            axes.text(-0.7, place, name, fontsize=font, ha="right", va="center")
        sides = " (seen | unseen)" if 0 < n_seen < len(classes) else ""
        middle = side / 2 + names + 0.3
        figure.text(middle / width, 0.1 / height, "predicted class" + sides, ha="center", va="bottom")
        figure.text(0.1 / width, middle / height, "true class" + sides, rotation=90, ha="left", va="center")
        axes.set_title(title, loc="left")
        if sides:
            axes.axhline(n_seen - 0.5, color="tab:red", linewidth=1)
            axes.axvline(n_seen - 0.5, color="tab:red", linewidth=1)
        if numbered:
            for row, column in np.argwhere(shares >= 0.5):
                value = shares[row, column]
                ink = "white" if value > 35 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6, color=ink)
        beside = figure.add_axes((left + (side + 0.2) / width, bottom + 0.15 * side / height, 0.15 / width, 0.7 * side / height))
        figure.colorbar(image, cax=beside, label="% of the true class's test images")


def draw_curve(path: Path, curves: dict[str, tuple[Curve, float]], title: str) -> None:
    """Draw S against U, in percent, for each head's curve, and mark the point at the gamma that is used."""
    with picture(path, 6, 6.4, layout="constrained") as figure:
        axes = figure.add_subplot()
        _harmonic_lines(axes)
        for place, (name, (steps, gamma)) in enumerate(curves.items()):
            seen, unseen = steps.at(gamma)
            colour = f"C{place}"
            axes.plot(100 * steps.unseen, 100 * steps.seen, color=colour, label=f"{name}: AUSUC {100 * steps.ausuc():.1f} %")
            high = 100 * float(harmonic(seen, unseen))
            axes.plot(
                100 * unseen,
                100 * seen,
                "o",
                color=colour,
                clip_on=False,
                zorder=3,
                label=f"{name} at gamma {gamma:.4g}: H {high:.1f} %",
            )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_aspect("equal")
        axes.set_xlabel("U: unseen classes, per-class mean top-1 (%)")
        axes.set_ylabel("S: seen classes, per-class mean top-1 (%)")
        axes.set_title(short(title, 64), loc="left")
        figure.legend(loc="outside lower center", ncols=len(curves), frameon=False)


def _harmonic_lines(axes: Axes) -> None:
    """Draw lines of equal H in the background, so that a point's H can be read off."""
    for level in (20, 40, 60, 80):
        unseen = np.linspace(100 * level / (200 - level), 100, 400)
        axes.plot(unseen, level * unseen / (2 * unseen - level), color="0.85", linewidth=0.8, zorder=0)
        axes.text(level, level, f"H {level}", color="0.6", fontsize=7, ha="center", va="center", backgroundcolor="white", zorder=1)
