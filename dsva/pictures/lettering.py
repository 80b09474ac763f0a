"""Names as people gave them, made fit to be looked at: nothing in them is hidden, and none is too long for its place."""

from rich.cells import cell_len, set_cell_size

from shards.files import without_control


def short(text: str, longest: int = 40) -> str:
    """Return a text in at most `longest` columns; what is no sign, such as the end of a line, stands as Python writes it."""
    shown = without_control(text)
    return shown if columns(shown) <= longest else set_cell_size(shown, longest - 1).rstrip() + "…"


def columns(text: str) -> int:
    """Return how wide a text is, in letters of average width: a Chinese sign is as wide as two."""
    return cell_len(text)
