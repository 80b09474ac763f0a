"""What the pages say of files, names and the paper is so."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import make
from tests.helpers.pages import ROOT, commands, pages

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


def defined(module: Path, name: str) -> bool:
    """Whether a module defines a name, `Class.method` too."""
    found: list[ast.AST] = [ast.parse(module.read_text())]
    for part in name.split("."):
        found = [node for outer in found for node in ast.iter_child_nodes(outer) if getattr(node, "name", None) == part]
    return bool(found)


def test_the_tour_has_eight_places_and_what_it_names_is_there() -> None:
    page = ROOT / "README.md"
    stops = re.findall(r"^- One .+?: \[(.+?)\]\((.+?)\), `(.+?)`\.", page.read_text(), re.MULTILINE)
    assert len(stops) == 8
    for shown, target, name in stops:
        assert shown == target
        assert defined(ROOT / target, name), name
    assert defined(ROOT / "shards" / "order.py", "part")
    assert not defined(ROOT / "shards" / "order.py", "parts")


def named(pattern: str) -> list[Path]:
    """The folders and files of a cell of the architecture's table: `a/` or `a/{b,c}`."""
    folder, _, inside = pattern.partition("{")
    names = [f"{folder}{name}" for name in inside.rstrip("}").split(",")] if inside else [pattern]
    return [ROOT / name if name.endswith("/") else ROOT / f"{name}.py" for name in names]


def test_the_architecture_names_every_room_from_top_to_bottom_and_nothing_that_is_not_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    told = [path for cell in re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE) for path in named(cell)]
    assert all(path.exists() for path in told), [path for path in told if not path.exists()]
    assert {file.parent for file in (ROOT / "shards").glob("*/__init__.py")} <= set(told)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in (contract for contract in contracts if "containers" in contract):
        [package] = contract["containers"]
        height = {room: place for place, layer in enumerate(contract["layers"]) for room in layer.split(" | ") if room[0] != "_"}
        order = [path.stem for path in told if path.parent == ROOT / package]
        assert set(order) == set(height)
        assert [height[room] for room in order] == sorted(height.values()), f"the table of {package} goes down as imports do"
    for name in re.findall(r"`((?:dsva|launch|shards)(?:\.\w+)+)`", text):
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name


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
