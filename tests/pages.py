"""The pages of the documentation, as the tests of what they say read them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pages() -> list[Path]:
    """Every page that a reader is led to."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "RESULTS.md"])


def blocks(page: str, language: str = "") -> list[str]:
    """The fenced blocks of a page in a language; commands are in blocks that name none."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def commands(page: str = "README.md") -> list[list[str]]:
    """The commands of a page, without comments."""
    return [shlex.split(line, comments=True) for block in blocks(page) for line in block.splitlines() if line.strip()]
