"""Looking at an attribute table: a heat map, and which classes have nearly the same row."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from dsva.pictures.drawing import picture
from dsva.pictures.lettering import columns, short
from dsva.protocol.attribute_table import AttributeTable
from dsva.protocol.separability import alike, listed, unvarying
from dsva.tables import Table

SHADES = " ░▒▓█"
NEAREST = 3


@dataclass(frozen=True)
class Neighbour:
    """Another class, and the cosine of the two rows after each attribute's mean is taken away; 1 is the same direction."""

    name: str
    cosine: float


def similar(table: AttributeTable, count: int = NEAREST) -> dict[str, tuple[Neighbour, ...]]:
    """Return the most similar classes of every class, the nearest first."""
    centred = table.matrix.astype(np.float64) - table.matrix.mean(0, dtype=np.float64)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    count = min(count, len(table.classes) - 1)
    order = np.argsort(-np.round(cosines, 12), axis=1, kind="stable")[:, :count]
    return {
        name: tuple(Neighbour(table.classes[j], float(cosines[i, j])) for j in order[i]) for i, name in enumerate(table.classes)
    }


def shown(table: AttributeTable) -> Iterator[str | Text | Table]:
    """Yield the heat map, a character an attribute, each column from its lowest to its highest; then the most similar classes."""
    names = [short(name) for name in table.classes]
    wide = max(map(columns, names))
    for group, places in table.groups.items():
        yield f"{group}: {', '.join(table.names[place] for place in places)}"
    cells = (_spread(table.matrix) * (len(SHADES) - 1)).round().astype(int)
    for name, strengths in zip(names, cells, strict=True):
        groups = ["".join(SHADES[strengths[place]] for place in places) for places in table.groups.values()]
        yield Text(f"{' ' * (wide - columns(name))}{name} |{'|'.join(groups)}|", no_wrap=True, overflow="ellipsis")
    rows = [[name, *(f"{near.name} {near.cosine:+.2f}" for near in nearest)] for name, nearest in similar(table).items()]
    heads = ("class", *(("nearest", "second", "third")[: len(rows[0]) - 1]))
    yield Table("Most similar classes", heads, rows, "Cosine of the rows, each attribute's mean taken away.")
    for equal in alike(table.matrix, table.classes):
        yield f"equal rows, which no score can tell apart: {listed(equal)}"
    if same := unvarying(table.matrix):
        yield f"the same in all classes, {len(same)} attributes: {listed([table.names[place] for place in same])}"
    yield f"{table.path}: {_told(table)}"


def draw_table(table: AttributeTable, path: Path) -> None:
    """Draw the heat map as PNG, each column from its lowest to its highest; groups are parted by lines."""
    order = [place for places in table.groups.values() for place in places]
    classes, attributes = [short(name) for name in table.classes], [short(table.names[place]) for place in order]
    # As much room for names as the longest needs.
    width = 1.6 + 0.06 * max(map(columns, classes)) + 0.15 * len(order)
    height = 1.6 + 0.055 * max(map(columns, attributes)) + 0.17 * len(classes)
    with picture(path, width, height, layout="constrained") as figure:
        axes = figure.add_subplot()
        image = axes.imshow(_spread(table.matrix)[:, order], cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(order)), attributes, rotation=90, fontsize=6)
        axes.set_yticks(range(len(classes)), classes, fontsize=7)
        sizes = np.array([len(places) for places in table.groups.values()])
        ends = np.cumsum(sizes)
        groups = [short(name) for name in table.groups]
        axes.secondary_xaxis("top").set_xticks((ends - sizes / 2 - 0.5).tolist(), groups, fontsize=8)
        for end in ends[:-1]:
            axes.axvline(end - 0.5, color="white", linewidth=1.5)
        figure.colorbar(image, ax=axes, label="lowest to highest class of the attribute", pad=0.01, fraction=0.02)


def _spread(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Stretch every column to 0 ... 1; 0 where all classes are alike."""
    values = matrix.astype(np.float64)
    low, high = values.min(0), values.max(0)
    spread: NDArray[np.float64] = np.divide(values - low, high - low, out=np.zeros_like(values), where=high > low)
    return spread


def _told(table: AttributeTable) -> str:
    size = f"{len(table.classes)} classes, {len(table.names)} attributes in {len(table.groups)} groups"
    if table.provenance is None:
        return f"{size}; how the rows were made is not recorded{': ' if table.meaning else ''}{table.meaning}"
    images = len(table.provenance.samples(table.provenance.images))
    return f"{size}; {table.meaning}; by {table.provenance.clip}, from {images} images"
