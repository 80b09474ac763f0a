"""Where all pictures of matplotlib come from: their text is drawn as it is given, in fonts that have its signs.

A `$` or `_` in a name is a sign like others, and whatever settings the process or the user has for matplotlib neither matter
nor change.
"""

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from dsva.files import write_atomically
from dsva.pictures.fonts import DEFAULT, families, hint, lacking

DPI = 120
MAX_PIXELS, MAX_SIDE = 64_000_000, 32_000  # of a picture; one that would be larger is drawn with fewer dots to the inch

_told: set[str] = set()  # signs that the user knows to be missing


@contextmanager
def picture(
    target: Path | io.BytesIO, width: float, height: float, *, dpi: float = DPI, layout: Literal["constrained"] | None = None
) -> Iterator[Figure]:
    """Give an empty figure, and write it as PNG once it is drawn; the same figure gives the same bytes.

    Args:
        target: file, which is replaced in one step, or memory.
        width: of the picture, inches.
        height: of the picture, inches.
        dpi: dots per inch.
        layout: of matplotlib; none leaves everything where it is put.
    """
    data = io.BytesIO() if isinstance(target, Path) else target
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams["text.parse_math"] = False
        figure = Figure(figsize=(width, height), layout=layout)
        yield figure
        _use_fonts(figure)
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # told once, not for every sign
        dpi = min(dpi, math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / max(width, height))
        # No version of the drawing library in the file.
        figure.savefig(data, format="png", dpi=dpi, metadata={"Software": None})
    if isinstance(target, Path):
        write_atomically(target, data.getvalue())


def _use_fonts(figure: Figure) -> None:
    """Give texts fonts that have their signs, and tell once which signs none has."""
    texts = {text: signs for text in figure.findobj(Text) if (signs := lacking(text.get_text()))}
    if not texts:
        return
    names, missing = families(frozenset().union(*texts.values()))
    for text in texts:
        text.set(family=[DEFAULT, *names], weight="normal")  # most fonts with many signs have no other weight
    if new := missing - _told:
        logging.getLogger(__name__).warning(hint(new))
        _told.update(new)
