"""What the pages say of files, names and the paper is so."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pages import ROOT, commands, pages

import make

LINK = re.compile(r"\[([^]]*)\]\((?![a-z]+:)([^)#]*)(#[^)]*)?\)")
WORD = re.compile(r"^\*\*(.+?)\*\*: .*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


def linked(text: str, page: Path) -> list[Path]:
    return [(page.parent / target).resolve() for _, target, _ in LINK.findall(text) if target]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    for target in linked(page.read_text(), page):
        assert target.is_file(), f"{page.relative_to(ROOT)} links to {target}"
        assert target.is_relative_to(ROOT)


def test_every_word_of_the_glossary_is_used_in_the_file_that_it_names() -> None:
    page = ROOT / "docs" / "glossary.md"
    entries = [(entry[1], entry[0]) for entry in WORD.finditer(page.read_text())]
    words = [word for word, _ in entries]
    assert len(words) >= 30
    assert words == sorted(words, key=str.lower)
    for word, said in entries:
        modules = linked(said, page)
        assert modules, word
        for module in modules:
            text = re.sub(r"[\s_-]+", " ", f"{module.stem} {module.read_text()}".lower())
            for part in word.lower().split(", "):
                assert part in text or all(re.search(rf"\b{piece}", text) for piece in part.split()), (word, module)


def test_citation_is_of_this_version_and_of_the_paper_that_the_readme_names() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    paper = cited["preferred-citation"]
    readme = (ROOT / "README.md").read_text()
    assert f"https://doi.org/{paper['doi']}" in readme
    assert all(author["family-names"] in readme for author in paper["authors"])


def test_contributing_names_the_checks_in_their_order_and_its_tests_run() -> None:
    given = commands("CONTRIBUTING.md")
    checks = [check for check in make.CHECKS if check[0] != "pytest"]
    tests = [command for command in given if command[0] == "pytest"]
    assert [["python3", "make.py", "test"], [".", ".venv/bin/activate"], *tests, *checks] == given
    assert len(tests) == 2
    for command in tests:
        made = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout
