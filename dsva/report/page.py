"""Results as one HTML file that needs nothing else: no network, and no script to be read.

A page is a list of sections: tables, pictures, a gallery of single decisions, and facts such as where the numbers
come from. All text is escaped, all pictures are inlined, and a content security policy forbids everything else.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from dsva.files import write_atomically
from dsva.report.charts import WIDE, Drawing
from dsva.report.style import SCRIPT, STYLE
from dsva.tables import Table


class Section(Protocol):
    """A titled part of the page."""

    @property
    def title(self) -> str:
        """Its heading, and its name in the links at the top."""
        ...

    def body(self, anchor: str) -> Iterator[str]:
        """Yield HTML; `anchor` is unique on the page."""
        ...


@dataclass(frozen=True)
class TableSection:
    """A table of results under its own title; `links` lead from rows, by their first cell, to other files."""

    table: Table
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The table's title."""
        return self.table.title

    def body(self, anchor: str) -> Iterator[str]:
        """Yield the table, in a box that scrolls sideways where it is too wide."""
        yield _paragraph(self.table.note)
        yield f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{anchor}">'
        yield f"<table><caption>{escape(self.title)}</caption><thead><tr>"
        yield "".join(f'<th scope="col">{escape(name)}</th>' for name in self.table.columns)
        yield "</tr></thead><tbody>"
        for first, *others in self.table.rows:
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
            name = f'<a href="{escape(quote(self.links[first]))}">{escape(first)}</a>' if first in self.links else escape(first)
            yield f'<tr><th scope="row">{name}</th>{cells}</tr>'
        yield "</tbody></table></div>"


@dataclass(frozen=True)
class Picture:
    """A PNG file in memory, with a caption that also tells what it shows."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Pictures with captions, such as curves and matrices."""

    title: str
    pictures: Sequence[Picture]
    note: str = ""

    def body(self, anchor: str) -> Iterator[str]:
        """Yield the figures side by side where there is room."""
        yield _paragraph(self.note)
        yield '<div class="grid">'
        for picture in self.pictures:
            yield f"<figure>{_image(picture.png, picture.caption)}<figcaption>{escape(picture.caption)}</figcaption></figure>"
        yield "</div>"


@dataclass(frozen=True)
class Charts:
    """Drawings with captions."""

    title: str
    charts: Sequence[tuple[Drawing, str]]
    note: str = ""

    def body(self, anchor: str) -> Iterator[str]:
        """Yield the figures side by side where there is room, the wide ones over the whole page and scrolling sideways."""
        yield _paragraph(self.note)
        yield '<div class="grid">'
        for drawing, caption in self.charts:
            kind = "chart wide" if drawing.width > WIDE else "chart"
            yield f'<figure class="{kind}"><div class="scroll" tabindex="0" role="region" aria-labelledby="{anchor}">{drawing.svg}'
            yield f"</div><figcaption>{escape(caption)}</figcaption></figure>"
        yield "</div>"


@dataclass(frozen=True)
class Decision:
    """What the model said of one image: a PNG of it, its class, the class chosen, and a caption."""

    png: bytes
    true: str
    predicted: str
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Decisions, to be filtered by class and by right or wrong."""

    title: str
    decisions: Sequence[Decision]
    note: str = ""

    def body(self, anchor: str) -> Iterator[str]:
        """Yield the filter and the list of decisions."""
        yield _paragraph(self.note)
        yield f'<div class="gallery"><fieldset class="filter" hidden aria-labelledby="{anchor}"><label>Class <select>'
        yield '<option value="">all</option>'
        yield "".join(
            f'<option value="{escape(name)}">{escape(name)}</option>'
            for name in sorted({decision.true for decision in self.decisions})
        )
        yield "</select></label>"
        for value, label in (("", "all"), ("right", "right"), ("wrong", "wrong")):
            checked = "" if value else " checked"
            yield f'<label><input type="radio" name="{anchor}-verdict" value="{value}"{checked}>{label}</label>'
        yield '<output class="quiet"></output></fieldset><ul class="grid">'
        yield from map(_decision, self.decisions)
        yield "</ul></div>"


@dataclass(frozen=True)
class Facts:
    """Names and values, such as run, checkpoint, class split and code version."""

    title: str
    facts: Mapping[str, str]
    note: str = ""

    def body(self, anchor: str) -> Iterator[str]:
        """Yield a list of terms and descriptions."""
        yield _paragraph(self.note)
        pairs = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in self.facts.items())
        yield f"<dl>{pairs}</dl>"


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write one self-contained HTML file; the same input gives the same bytes.

    Args:
        path: file to write; it is replaced where it exists.
        title: of the page.
        lead: one or two sentences under the title.
        sections: in reading order; with more than one, links to them come first.
    """
    anchors = {f"part-{number}": section for number, section in enumerate(sections, 1)}
    links = "".join(f'<li><a href="#{anchor}">{escape(section.title)}</a></li>' for anchor, section in anchors.items())
    parts = [_head(title), f"<header><h1>{escape(title)}</h1>", _paragraph(lead)]
    parts.append(f'<nav aria-label="Sections"><ul>{links}</ul></nav></header><main id="main">')
    for anchor, section in anchors.items():
        parts.append(f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(section.title)}</h2>')
        parts.extend(section.body(anchor))
        parts.append("</section>")
    parts.append(f"</main></div><script>{SCRIPT}</script></body></html>\n")
    text = "\n".join(part for part in parts if part)
    write_atomically(path, text.encode(errors="backslashreplace"))  # what is no text stands as Python writes it


def _head(title: str) -> str:
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        '<body><a class="skip" href="#main">Skip to the results</a><div class="wrap">'
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _image(png: bytes, alt: str) -> str:
    # the size is in the PNG's first chunk: given here, the page does not jump while it loads
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    data = base64.b64encode(png).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{height}" loading="lazy">'


def _decision(decision: Decision) -> str:
    right = decision.predicted == decision.true
    verdict = "\N{CHECK MARK} right" if right else "\N{BALLOT X} wrong"
    said = f"{decision.true}, predicted {decision.predicted}"
    return (
        f'<li class="{"right" if right else "wrong"}" data-class="{escape(decision.true)}"><figure>'
        f'{_image(decision.png, said)}<figcaption><span class="verdict">{verdict}</span> {escape(said)}'
        f"{'. ' + escape(decision.caption) if decision.caption else ''}</figcaption></figure></li>"
    )
