"""The site of MkDocs: every page, and every file that a page links to, has there the place that it has in the repository.

So a link works on a code host and in the site alike. A file that is no page and no picture becomes a page that shows it, and
every room of the code, which is a folder of modules, gets a page of what its modules say of themselves.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dsva", "launch", "shards")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)[^)#]+")
AS_THEY_ARE = {".md", ".svg", ".png"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the rooms at the end of the navigation."""
    assert config.nav
    config.nav.append({"Reference": [{room: _reference(room)} for room in _rooms()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the pages and what they link to from the repository."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    pages = [*ROOT.glob("*.md"), ROOT / "benchmarks" / "RESULTS.md", *(ROOT / "docs").rglob("*.md")]
    linked = {(page.parent / link).resolve() for page in pages for link in LINK.findall(page.read_text())}
    for path in sorted(filter(Path.is_file, linked.union(pages))):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in AS_THEY_ARE:
            files.append(File.generated(config, name, abs_src_path=str(path)))
        else:
            shown = f"# {name}\n\n~~~~{path.suffix[1:]}\n{path.read_text()}\n~~~~\n"
            files.append(File.generated(config, f"{name}.md", content=shown))
    for room, modules in _rooms().items():
        shown = "\n\n".join([f"# {room}", *(f"::: {module}" for module in modules)])
        files.append(File.generated(config, _reference(room), content=shown))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead a page's link to a file to the page that shows it."""
    if page.file.abs_src_path is None:
        return markdown
    return LINK.sub(lambda link: link[0] if Path(link[0]).suffix in AS_THEY_ARE else f"{link[0]}.md", markdown)


def _rooms() -> dict[str, list[str]]:
    """The modules of each folder of the packages, the folder's own first."""
    rooms: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            room = ".".join(path.relative_to(ROOT).parent.parts)
            rooms.setdefault(room, []).append(room if path.stem == "__init__" else f"{room}.{path.stem}")
    return {room: sorted(rooms[room]) for room in sorted(rooms)}


def _reference(room: str) -> str:
    return f"reference/{room}.md"
