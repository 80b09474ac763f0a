"""Tables of text: for the terminal, and as markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable
from rich.text import Text

# What means something to markdown, also to GitHub's, which reads mathematics; `_` only where it is no part of a word.
_MEANT = re.compile(r"[\\`*<\[$|&~]|(?<![^\W_])_|_(?![^\W_])")


def literal(text: str) -> str:
    """Return a text as markdown that shows it sign by sign, in one line."""
    return _MEANT.sub(lambda sign: f"\\{sign[0]}", " ".join(text.split()))


@dataclass(frozen=True)
class Table:
    """Text in rows and columns: the first column names the row, the others hold figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def rich(self) -> RichTable:
        """Return the table for the terminal."""
        # As `Text`, in which neither [x] nor :x: means anything.
        caption = Text(self.note, "table.caption") if self.note else None
        title = Text(self.title, "table.title")
        table = RichTable(title=title, caption=caption, title_justify="left", caption_justify="left")
        for place, column in enumerate(self.columns):
            table.add_column(Text(column), justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def markdown(self) -> str:
        """Return the table as GitHub-flavoured markdown, with title and note as paragraphs."""
        lines = [[*map(literal, line)] for line in (self.columns, *self.rows)]
        lines.insert(1, [":--", *["--:"] * (len(self.columns) - 1)])
        body = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"**{literal(self.title)}**\n\n{body}" + (f"\n{literal(self.note)}\n" if self.note else "")


def percent(share: float) -> str:
    """Return a share of 1 in percent, with one decimal."""
    return f"{100 * share:.1f}"
