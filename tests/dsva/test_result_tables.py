"""Names in tables are text in every form: markdown and LaTeX show them sign by sign, and none ends a row."""

import re
from io import StringIO

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from dsva.tables import Table
from launch.sweep.table import as_latex
from tests.helpers.odd_names import ODD, names

ROWS = st.lists(st.tuples(names, names), min_size=1, max_size=4)
SIGN = r"\\[&%$#_{}]|\\text\w+\{\}|\$\\pm\$|\{[\[\]*]\}|[^\\&%$#_{}~^\[\]*<>|]"


def flat(text: str) -> str:
    return " ".join(text.split())


@given(ROWS)
@example([(name, name) for name in ODD])
@example([("a\\", "|b"), ("\\|", "\\"), ("***", "a_b_ __c__"), ("&amp;", "`x`")])
def test_markdown_shows_what_the_cells_hold(rows: list[tuple[str, str]]) -> None:
    text = Table("t", ("a", "b"), rows).markdown().replace("\udcff", "\ufffd")
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    cells = [token for token in parsed if token.type == "inline"][3:]  # after the title and two heads
    shown = ["".join(child.content for child in cell.children or ()) for cell in cells]
    signs = {child.type for cell in cells for child in cell.children or ()}
    assert signs <= {"text", "text_special"}
    assert shown == [flat(cell).replace("\udcff", "\ufffd").replace("\x00", "\ufffd") for row in rows for cell in row]


@given(ROWS)
@example([(name, name) for name in ODD])
@example([("[1] *x", "a & b"), ("*", r"\input{x}")])
def test_latex_holds_nothing_but_escaped_signs(rows: list[tuple[str, str]]) -> None:
    text = as_latex(Table("t", ("a", "b"), rows, "a note\n\\input{x}"))
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0]
    lines = body.removesuffix("\n").split("\n")
    assert len(lines) == len(rows)
    for line in lines:
        assert re.fullmatch(rf"({SIGN})* & ({SIGN})* \\\\", line)
    assert text.split("\\end{tabular}\n")[1] == "% a note \\input{x}\n"


def test_the_terminal_shows_names_as_they_are() -> None:
    screen = StringIO()
    Console(file=screen, width=200).print(
        Table(":car: [b]t", ("[i]c", "d"), [("[red]x[/red] :smile:", "\\[b]")], ":x: [u]n").rich()
    )
    for text in (":car: [b]t", "[i]c", "[red]x[/red] :smile:", "\\[b]", ":x: [u]n"):
        assert text in screen.getvalue()
