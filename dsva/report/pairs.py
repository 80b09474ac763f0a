"""Near duplicates to be looked at: contact sheets of the pairs side by side, and a list of all."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import ImageColor

from dsva.pictures.drawing import DPI, picture
from dsva.pictures.lettering import short
from shards.decode import Pixels
from shards.index import ShardSet
from shards.loader import Reader
from shards.names import alias
from shards.near_duplicates import NearDuplicate, Sample
from shards.spreadsheet import csv_text

COLUMNS, ROWS = 4, 6  # of pairs on a sheet
_SIDE, _GAP, _LINE = 150, 12, 14  # of an image, between pairs, of text, pixels
_WIDTH, _HEIGHT = 2 * _SIDE + _GAP, _SIDE + 3 * _LINE + _GAP  # of a pair
_FRAME, _MARK = 3, "#b3261e"  # pixels and colour, around a pair of different classes
_FONT, _LETTERS = 6.5, 58  # points; letters that have room under a pair
_FIELDS = ("set", "image", "class", "split")
_HEADER = (*_FIELDS, *(f"other {name}" for name in _FIELDS), "bits", "correlation", "exact copy", "same scene", "classes differ")


@dataclass(frozen=True)
class PairListing:
    """Near duplicates of opened sets, see `shards.near_duplicates.near_duplicates`."""

    sets: Sequence[ShardSet]
    pairs: Sequence[NearDuplicate]

    def classes_differ(self, pair: NearDuplicate) -> bool:
        """Tell whether the two images are labelled as different classes, but for the spelling."""
        first, second = (alias(self._told(sample)[2]) for sample in (pair.first, pair.second))
        return first != second

    def csv(self) -> str:
        """Return a line for each pair."""
        rows = [
            (
                *self._told(pair.first),
                *self._told(pair.second),
                pair.bits,
                f"{pair.correlation:.3f}",
                *(("no", "yes")[known] for known in (pair.exact, pair.same_scene, self.classes_differ(pair))),
            )
            for pair in self.pairs
        ]
        return csv_text([_HEADER, *rows])

    def draw(self, folder: Path, most: int) -> list[Path]:
        """Draw the first pairs that show the same scene, `most` at most, and return the sheets; earlier ones go."""
        for earlier in folder.glob("near-[0-9]*.png"):
            earlier.unlink()
        shown = [pair for pair in self.pairs if pair.same_scene][:most]
        sheets: list[Path] = []
        with ExitStack() as stack:
            readers = [stack.enter_context(Reader(shards)) for shards in self.sets]
            for start in range(0, len(shown), COLUMNS * ROWS):
                sheets.append(folder / f"near-{len(sheets) + 1:03d}.png")
                self._sheet(shown[start : start + COLUMNS * ROWS], readers, sheets[-1])
        return sheets

    def _told(self, sample: Sample) -> tuple[str, str, str, str]:
        shards = self.sets[sample.place]
        record = shards.records[sample.id]
        return str(shards.root), shards.key(sample.id), shards.classes[record["label"]], shards.splits[record["split"]]

    def _sheet(self, pairs: Sequence[NearDuplicate], readers: Sequence[Reader], path: Path) -> None:
        columns, rows = min(len(pairs), COLUMNS), -(-len(pairs) // COLUMNS)
        canvas = np.full((rows * _HEIGHT + _GAP, columns * _WIDTH + _GAP, 3), 255, np.uint8)
        with picture(path, canvas.shape[1] / DPI, canvas.shape[0] / DPI) as figure:
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            for place, pair in enumerate(pairs):
                top, left = _GAP + place // COLUMNS * _HEIGHT, _GAP + place % COLUMNS * _WIDTH
                if self.classes_differ(pair):
                    canvas[top - _FRAME : top + _SIDE + _FRAME, left - _FRAME : left + 2 * _SIDE + _FRAME] = ImageColor.getrgb(
                        _MARK
                    )
                for number, sample in enumerate((pair.first, pair.second)):
                    _paste(canvas, readers[sample.place], sample.id, top, left + number * _SIDE)
                self._caption(axes, pair, top + _SIDE, left)
            axes.imshow(canvas, interpolation="nearest", aspect="auto")

    def _caption(self, axes: Axes, pair: NearDuplicate, top: int, left: int) -> None:
        differ = self.classes_differ(pair)
        kind = "exact copy" if pair.exact else f"{pair.bits} of 64 bits, correlation {pair.correlation:.2f}"
        lines = [kind + (", CLASSES DIFFER" if differ else "")]
        for sample in (pair.first, pair.second):
            _, key, name, split = self._told(sample)
            told = ", ".join(part for part in ("" if key.startswith(f"{name}/") else name, split) if part)
            lines.append(short(f"{key} ({told})" if told else key, _LETTERS))
        for number, line in enumerate(lines):
            ink = _MARK if differ and number == 0 else "black"
            axes.text(left, top + _FRAME + number * _LINE, line, fontsize=_FONT, va="top", color=ink)


def _paste(canvas: Pixels, reader: Reader, sample: int, top: int, left: int) -> None:
    pixels = np.empty((_SIDE, _SIDE, 3), np.uint8)
    reader.decode(sample, pixels)
    canvas[top : top + _SIDE, left : left + _SIDE] = pixels
