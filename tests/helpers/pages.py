"""The pages of the documentation, as the tests of what they say read them."""

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from launch.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


def pages() -> list[Path]:
    """Every page that a reader is led to."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "RESULTS.md"])


def blocks(page: str, info: str = "") -> list[str]:
    """The fenced blocks of a page that begin with ```info; commands are in blocks that name nothing."""
    return [text for begun, text in _fences(page) if begun == info]


def commands(page: str = "README.md") -> list[list[str]]:
    """The commands of a page, without comments."""
    return [shlex.split(line, comments=True) for block in blocks(page) for line in block.splitlines() if line.strip()]


def files(page: str) -> dict[str, str]:
    """The files that a page shows, by the name in the title of their block."""
    titled = ((re.search(r'title="(.+?)"', begun), text) for begun, text in _fences(page))
    return {title[1]: text for title, text in titled if title}


def _fences(page: str) -> list[tuple[str, str]]:
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def invoke(command: list[str]) -> str:
    """Run a `dsva` command of a page in this process, and return what it printed."""
    made = CliRunner().invoke(app, command[1:], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    return made.output
