"""Every picture draws names sign by sign, in fonts that have them, and leaves the process as it was."""

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dsva.attributes.show import draw_table
from dsva.evaluation.metrics import curve, decide
from dsva.evaluation.plots import draw_confusion, draw_curve
from dsva.inference.explain import Explanation
from dsva.inference.scene import ClassMap, _draw
from dsva.pictures import drawing, fonts
from dsva.pictures.drawing import picture
from dsva.pictures.lettering import columns, short
from dsva.protocol.attribute_table import AttributeTable
from dsva.report.panels import panel
from tests.helpers.odd_names import ODD, names
from tests.helpers.programs import ROOT

SQUARE, NOWHERE = "\U000f4320", "\U000f4321"  # for private use: no font of the system has them


def draw_explanation(given: list[str], path: Path) -> None:
    random, count = np.random.default_rng(0), len(given)
    first, second, third = (random.random(count) for _ in range(3))
    maps = random.random((count, 2, 2)).astype(np.float32)
    told = Explanation("image", given[0], given[-1], given[0], 1.0, 0.5, (0.0, 0.0), given, first, second, third, 1.0, maps, None)
    path.write_bytes(panel(random.integers(0, 255, (16, 16, 3), np.uint8), told))


def draw_attributes(given: list[str], path: Path) -> None:
    half, count = max(1, len(given) // 2), len(given)
    groups = {f"{given[0]} 1": tuple(range(half)), f"{given[0]} 2": tuple(range(half, count))}
    matrix = np.random.default_rng(0).random((count, count)).astype(np.float32)
    draw_table(AttributeTable(Path("t.json"), tuple(given), tuple(given), groups, matrix, "", ""), path)


def draw_matrix(given: list[str], path: Path) -> None:
    draw_confusion(path, np.eye(len(given), dtype=np.int64), given, 1, "title")


def draw_seen_unseen(given: list[str], path: Path) -> None:
    decided = decide(np.random.default_rng(0).random((9, 4)), np.arange(9) % 4, 2)
    draw_curve(path, {"proto": (curve(decided), 0.1), "main": (curve(decided), 0.2)}, given[0])


def draw_map(given: list[str], path: Path) -> None:
    made = ClassMap(tuple(given), np.arange(len(given), dtype=np.uint8)[:, None], 1)
    _draw(path, made, np.zeros((4, 4, 3), np.uint8))


PICTURES = [draw_explanation, draw_attributes, draw_matrix, draw_seen_unseen, draw_map]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """All texts of the figures that are drawn, as they were when they were drawn."""
    found: list[Text] = []
    save = Figure.savefig

    def spy(figure: Figure, *arguments: object, **options: object) -> None:
        save(figure, *arguments, **options)  # type: ignore[arg-type]
        found.extend(figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", spy)
    return found


@pytest.mark.parametrize("draw", PICTURES)
def test_every_odd_name_stands_in_the_picture_sign_by_sign(
    draw: Callable[[list[str], Path], None], drawn: list[Text], tmp_path: Path
) -> None:
    given = list(ODD) if draw not in (draw_explanation, draw_seen_unseen) else list(ODD[:6])
    draw(given, tmp_path / "a.png")
    said = " / ".join(text.get_text() for text in drawn)
    for name in given[:1] if draw is draw_seen_unseen else given:
        assert short(name, 16)[:15] in said
    assert not any(text.get_parse_math() or text.get_usetex() for text in drawn)
    with Image.open(tmp_path / "a.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 20


@settings(max_examples=2, deadline=None)
@given(given=st.lists(names, min_size=1, max_size=5))
@example(given=["$a", "b$", "{", "\\", "\x00"])
def test_no_name_stops_a_picture(given: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    for draw in PICTURES:
        draw(given, folder / f"{draw.__name__}.png")
    assert len(list(folder.iterdir())) == len(PICTURES)


def test_no_picture_is_made_elsewhere() -> None:
    files = [file for package in ("dsva", "launch", "shards") for file in (ROOT / package).rglob("*.py")]
    made = [file.name for file in files if re.search(r"\bFigure\(|savefig|pyplot", file.read_text())]
    assert made == ["drawing.py"]


def written(text: str, target: Path | io.BytesIO) -> Text:
    with picture(target, 2, 1) as figure:
        return figure.text(0.1, 0.3, text, weight="bold")


def test_settings_of_the_process_neither_matter_nor_change(tmp_path: Path) -> None:
    written("$x_1$ 5", tmp_path / "plain.png")
    theirs: dict[Any, Any] = {"text.usetex": True, "font.size": 30.0, "figure.facecolor": "red", "text.parse_math": True}
    with mpl.rc_context(theirs):
        before = dict(mpl.rcParams)
        written("$x_1$ 5", tmp_path / "theirs.png")
        assert dict(mpl.rcParams) == before
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_a_picture_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    written("before", tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "a.png", 1, 1):
        raise ZeroDivisionError
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.png", before)]


def test_a_picture_of_very_many_classes_has_fewer_dots(tmp_path: Path) -> None:
    with picture(tmp_path / "a.png", 900, 2):
        pass
    with Image.open(tmp_path / "a.png") as image:
        assert 31_000 < image.width <= 32_000


@pytest.fixture
def font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A font with one sign, a black square, installed after matplotlib made its list of fonts."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    made = FontBuilder(1000)
    made.setupGlyphOrder([".notdef", "square"])
    made.setupCharacterMap({ord(SQUARE): "square"})
    made.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    made.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    made.setupHorizontalHeader(ascent=1000, descent=0)
    made.setupNameTable({"familyName": "Square of a test", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    path = tmp_path / "square.ttf"
    made.save(path)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    known = list(font_manager.fontManager.ttflist)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "broken.ttf"), str(path)])
    monkeypatch.setattr(drawing, "_told", set())
    yield path
    font_manager.fontManager.ttflist[:] = known
    for cached in (fonts.families, fonts._installed):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def _forget_fonts() -> None:
    for cached in (fonts.families, fonts._installed):
        cached.cache_clear()


def test_a_font_that_has_the_sign_is_found_and_drawn_with(font: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = io.BytesIO()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        text = written(f"a{SQUARE}", data)
    assert text.get_fontfamily() == [fonts.DEFAULT, "Square of a test"]
    assert (caplog.text, [str(each.message) for each in told]) == ("", [])
    pixels = np.asarray(Image.open(data).convert("L"))
    assert (pixels < 50).sum() > 150  # a square of 10 points is 16 dots wide; a box is mostly white


def test_a_sign_that_no_font_has_is_told_once(font: Path, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for text in (f"{SQUARE}{NOWHERE}", f"{NOWHERE * 3} again", "plain"):
            written(text, io.BytesIO())
    assert [str(each.message) for each in told] == []
    assert len(caplog.records) == 1
    assert f"boxes for 1 signs of names ({NOWHERE})" in caplog.text


def test_fonts_are_searched_for_only_where_the_default_lacks_a_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed", partial(pytest.fail, "searched"))
    for text in ("Forêt $x$", "شارع", "a\u200db", "two\nlines", " \u3000 "):
        written(text, io.BytesIO())


PACKAGES = [("森", "fonts-noto-cjk"), ("か", "fonts-noto-cjk"), ("\U0001fae0", "fonts-symbola"), ("ཀ", "fonts-noto-core")]


@pytest.mark.parametrize(("sign", "package"), PACKAGES)
def test_the_hint_names_what_to_install(sign: str, package: str) -> None:
    assert f"({sign}), which no installed font has: install one that has, such as {package} " in fonts.hint([sign])


def test_the_hint_goes_to_standard_error_as_a_sentence(capfd: pytest.CaptureFixture[str], font: Path) -> None:
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []  # those of pytest
    try:
        written(NOWHERE, io.BytesIO())
    finally:
        root.handlers = handlers
    assert capfd.readouterr().err.startswith("pictures show boxes for 1 signs of names")


@given(names, st.integers(3, 40))
def test_short_names_are_no_wider_than_asked_and_whole_where_there_is_room(name: str, longest: int) -> None:
    assert columns(short(name, longest)) <= longest
    if name.isprintable() and columns(name) <= longest:
        assert short(name, longest) == name


def test_what_is_no_sign_is_written_out() -> None:
    assert short("a\nb\t\x00\udcff\u2028") == r"a\nb\t\x00\udcff\u2028"
    assert short("森林公园森林公园", 8) == "森林公…"
    assert short("x" * 41) == "x" * 39 + "…"
