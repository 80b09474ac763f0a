"""CSV that people open in a spreadsheet: no cell of it is taken for a formula."""

import csv
import io
from collections.abc import Iterable, Sequence

# What a cell may begin with for a spreadsheet to compute it, where a name of a class or file comes from a stranger.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")  # noqa: RUF001 (the wide forms count, too)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV; a text that a spreadsheet would compute gets an apostrophe in front, a number stays as it is."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) and not _is_figure(cell) else cell


def _is_figure(cell: str) -> bool:
    """Tell whether a cell is a number, or a mean ± deviation."""
    try:
        return all(float(part) is not None for part in cell.split(" ± "))
    except ValueError:
        return False
