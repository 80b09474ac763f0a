import base64
import hashlib
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from dsva.report.page import Decision, Facts, Gallery, Section, TableSection, write_page
from dsva.tables import Table

EVIL = """</title><script>alert("1")</script> & 'x' <img src=http://a.example/x>"""
VOID = {"meta", "img", "input", "br"}


class Reader(HTMLParser):
    """Checks that tags are closed in order, and gathers them and the text outside script and style."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def png(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(data, "PNG")
    return data.getvalue()


def write(path: Path, word: str) -> str:
    sections: list[Section] = [
        TableSection(Table(word, ("head", word), [[word, "0.9"], ["chance", word]], word)),
        Gallery("Gallery", [Decision(png("blue"), word, word, word), Decision(png("green"), "Bay", word)], word),
        Facts(word, {word: word, "seed": "0"}, word),
    ]
    write_page(path, word, word, sections)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def page(tmp_path: Path) -> str:
    return write(tmp_path / "page.html", "Airport")


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def test_page_is_well_formed_and_every_link_and_label_has_its_target(page: str) -> None:
    reader = read(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert max(Counter(ids).values()) == 1
    assert {f"#{name}" for name in ids} == {attributes["href"] for attributes in reader.all("a")}
    assert {attributes["aria-labelledby"] for _, attributes in reader.tags if "aria-labelledby" in attributes} <= set(ids)
    assert len(reader.all("h1")) == len(reader.all("main")) == 1
    assert all(image["alt"] and (image["width"], image["height"]) == ("30", "20") for image in reader.all("img"))
    assert [attributes["scope"] for attributes in reader.all("th")] == ["col", "col", "row", "row"]


def test_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert not re.search(r"https?:|//\w|@import|url\(", re.sub(r"base64,[\w+/=]+", "", page))
    reader = read(page)
    sources = [attributes["src"] for _, attributes in reader.tags if "src" in attributes]
    read_back = [base64.b64decode(str(source).removeprefix("data:image/png;base64,")) for source in sources]
    assert read_back == [png("blue"), png("green")]
    assert not any(name.startswith("on") or name == "style" for _, attributes in reader.tags for name in attributes)


def test_policy_allows_the_pages_own_script_and_style_only(page: str) -> None:
    policy = read(page).all("meta")[1]["content"]
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in str(policy)
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_text_is_escaped_everywhere(page: str, tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.html", EVIL)
    plain, reader = read(page), read(odd)
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]
    assert "".join(reader.text) == "".join(plain.text).replace("Airport", EVIL)
    assert [item["data-class"] for item in reader.all("li") if "data-class" in item] == [EVIL, "Bay"]


def test_decisions_are_marked_right_or_wrong_and_shown_without_script(page: str) -> None:
    reader = read(page)
    items = [attributes for attributes in reader.all("li") if "data-class" in attributes]
    assert [(item["class"], item["data-class"]) for item in items] == [("right", "Airport"), ("wrong", "Bay")]
    assert not any("hidden" in item for item in items)
    assert "hidden" in reader.all("fieldset")[0]
    assert "Bay, predicted Airport" in "".join(reader.text)


def test_same_input_gives_the_same_page(page: str, tmp_path: Path) -> None:
    assert write(tmp_path / "again.html", "Airport") == page
