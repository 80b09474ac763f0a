"""Results as one HTML file that needs nothing else: no network, and no script to be read.

A page is a list of sections: tables, charts, a gallery of single decisions, and facts such as where the numbers
come from. Each has a template in the folder `templates`. All text is escaped, all pictures are inlined, and a content
security policy forbids everything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from dsva.files import write_atomically
from dsva.report.charts import Drawing
from dsva.report.rendering import render
from dsva.tables import Table


class Section(Protocol):
    """A titled part of the page: its template shows it as `section`, under the name `anchor`, which is unique on the page."""

    template: ClassVar[str]

    @property
    def title(self) -> str:
        """Its heading, and its name in the links at the top."""
        ...

    @property
    def note(self) -> str:
        """A paragraph before it; "" for none."""
        ...


@dataclass(frozen=True)
class TableSection:
    """A table of results under its own title; `links` lead from rows, by their first cell, to other files."""

    template: ClassVar[str] = "table.html"

    table: Table
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The table's title."""
        return self.table.title

    @property
    def note(self) -> str:
        """The table's note."""
        return self.table.note


@dataclass(frozen=True)
class Charts:
    """Drawings with captions."""

    template: ClassVar[str] = "charts.html"

    title: str
    charts: Sequence[tuple[Drawing, str]]
    note: str = ""


@dataclass(frozen=True)
class Decision:
    """What the model said of one image: a PNG of it, its class, the class chosen, and a caption."""

    png: bytes
    true: str
    predicted: str
    caption: str = ""

    @property
    def right(self) -> bool:
        """Whether the class chosen is the image's."""
        return self.predicted == self.true


@dataclass(frozen=True)
class Gallery:
    """Decisions, to be filtered by class and by right or wrong."""

    template: ClassVar[str] = "gallery.html"

    title: str
    decisions: Sequence[Decision]
    note: str = ""

    @property
    def classes(self) -> Sequence[str]:
        """What there is to be chosen from."""
        return sorted({decision.true for decision in self.decisions})


@dataclass(frozen=True)
class Facts:
    """Names and values, such as run, checkpoint, class split and code version."""

    template: ClassVar[str] = "facts.html"

    title: str
    facts: Mapping[str, str]
    note: str = ""


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write one self-contained HTML file; the same input gives the same bytes.

    Args:
        path: file to write; it is replaced where it exists.
        title: of the page.
        lead: one or two sentences under the title.
        sections: in reading order; links to them come first.
    """
    text = render("page.html", title=title, lead=lead, sections=sections)
    write_atomically(path, text.encode(errors="backslashreplace"))  # what is no text stands as Python writes it
