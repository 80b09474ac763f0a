"""The page of a run: its figures, and how it looks and works in a real browser."""

import io
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from dsva.evaluation.results import Results
from dsva.report.build import write_report
from dsva.report.charts import WIDE, Bars, Line, bar_chart, line_chart, matrix
from dsva.report.curves import correlations, training_charts
from dsva.report.page import Charts, Decision, Gallery, TableSection, write_page
from dsva.run_directory import RESULTS
from dsva.tables import Table
from shards.errors import UserError
from tests.helpers.browser import CONTRAST, Page
from tests.helpers.odd_names import ODD
from tests.helpers.small_runs import SEEN, UNSEEN

EVIL = """</svg><script>alert("1")</script> & 'x'"""


@pytest.fixture(scope="module")
def report(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a copy of the small run."""
    copy = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(run_dir, copy)
    return write_report(copy)


def text(path: Path) -> str:
    return re.sub(r"<[^>]+>", " ", path.read_text())


def test_page_holds_table_charts_gallery_and_provenance(report: Path) -> None:
    results, said = Results.read(report.parent / RESULTS), text(report)
    for wanted in (*UNSEEN, *SEEN, "ridge", "eszsl", "chance", "Published figures of DSVA on RSSDIVCS"):
        assert wanted in said
    made = results.provenance
    for fact in (made.checkpoint_sha256, made.data_digest, made.attributes_sha256, made.splits_sha256, "starts.jsonl"):
        assert fact in said
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", report.read_text())
    assert titles[2:8] == [
        "Why images went to their classes",
        "Seen against unseen classes",
        "Confusions",
        "Classes",
        "Share of each class&#39;s test images that is recognised",
        "How well attributes are read",
    ]
    assert titles[8] == "Training"


def test_page_is_the_same_each_time(report: Path) -> None:
    before = report.read_bytes()
    assert write_report(report.parent).read_bytes() == before


def test_results_of_another_checkpoint_are_refused(report: Path, tmp_path: Path) -> None:
    shutil.copytree(report.parent, tmp_path / "run")
    results = tmp_path / "run" / RESULTS
    sha256 = Results.read(results).provenance.checkpoint_sha256
    results.write_text(results.read_text().replace(sha256, "0" * 64))
    with pytest.raises(UserError, match="is of another checkpoint"):
        write_report(tmp_path / "run")


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 400)])
def test_browser_shows_it_without_a_complaint(tab: Page, report: Path, dark: bool, width: int) -> None:
    tab.open(report, dark=dark, width=width)
    assert tab.complaints == []
    images = "[...document.images].map(image => {image.loading = 'eager'; return image.decode().then(() => image.naturalWidth)})"
    widths = tab.run(f"Promise.all({images})")
    assert len(widths) >= len(UNSEEN)
    assert min(widths) > 500
    assert tab.run("[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().height > 50)")
    assert tab.run("document.documentElement.scrollWidth") <= width
    ground = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
    assert (max(tab.run(ground)) < 60) == dark
    seen = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("L"))
    assert (seen.mean() < 90) == dark
    assert len(np.unique(seen)) > 20


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_stands_out_from_its_ground(tab: Page, report: Path, dark: bool) -> None:
    """WCAG 2.1 asks for a contrast of 4.5 to 1."""
    tab.open(report, dark=dark)
    assert tab.run(CONTRAST) >= 4.5


def shown(tab: Page) -> list[list[str]]:
    items = "[...document.querySelectorAll('[data-class]')].filter(item => item.checkVisibility())"
    visible: list[list[str]] = tab.run(f"{items}.map(item => [item.dataset.class, item.className])")
    return visible


def test_filters_work_by_keyboard_alone(tab: Page, report: Path) -> None:
    tab.open(report)
    every = shown(tab)
    assert {name for name, _ in every} == set(UNSEEN)
    focused = "document.activeElement.tagName + (document.activeElement.value || '')"
    assert tab.run("document.querySelector('.filter').checkVisibility()")
    for _ in range(60):
        tab.press("Tab", 9)
        if tab.run(focused).startswith("SELECT"):
            break
    tab.press("ArrowDown", 40)
    chosen = tab.run("document.activeElement.value")
    assert chosen in UNSEEN
    assert shown(tab) == [item for item in every if item[0] == chosen]
    tab.press("ArrowUp", 38)
    assert shown(tab) == every
    tab.press("Tab", 9)
    for verdict in ("right", "wrong"):
        tab.press("ArrowRight", 39)
        assert tab.run(focused) == f"INPUT{verdict}"
        wanted = [item for item in every if item[1] == verdict]
        assert shown(tab) == wanted
        assert tab.run("document.querySelector('output').textContent") == f"{len(wanted)} of {len(every)} pictures"
    assert tab.complaints == []


def test_a_page_of_odd_names_shows_them_and_filters_by_each(tab: Page, tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    every = [Decision(data.getvalue(), name, name, name) for name in ODD]
    table = Table(ODD[0], ("class", *ODD), [[name, *ODD] for name in ODD])
    drawings = [(bar_chart(name, ODD, [Bars(name, [1.0] * len(ODD)), Bars("b", [0.5] * len(ODD))], 0, 1), name) for name in ODD]
    write_page(tmp_path / "page.html", ODD[8], ODD[8], [TableSection(table), Gallery(ODD[1], every), Charts(ODD[2], drawings)])
    tab.open(tmp_path / "page.html")
    assert tab.complaints == []
    as_text = [name.replace("\udcff", "\\udcff") for name in ODD]
    assert tab.run("[...document.querySelectorAll('tbody th')].map(cell => cell.textContent)") == as_text
    assert tab.run("[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().height > 50)")
    cut = "[...document.querySelectorAll('svg text.end')].filter(text => text.getBBox().x < 0).map(text => text.textContent)"
    assert tab.run(cut) == []
    choose = (
        "const box = document.querySelector('select'); box.value = {}; box.dispatchEvent(new Event('change', {{bubbles: true}}))"
    )
    for name in as_text:
        tab.run(f"{{ {choose.format(json.dumps(name))} }}")
        assert shown(tab) == [[name, "right"]]


def test_without_its_script_nothing_is_hidden(report: Path, tab: Page, tmp_path: Path) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(report)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert len(shown(tab)) == tab.run("document.querySelectorAll('[data-class]').length") > 0


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def test_lines_go_through_their_points_in_scale() -> None:
    drawing = line_chart("d", [Line("a", [(0, 0), (5, 50), (10, 100)], [((5, 50), "half")])], "x", "y", limits=None)
    (line,) = [element for element in parsed(drawing.svg).iter("polyline")]
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert points[1] == pytest.approx(np.mean([points[0], points[2]], axis=0), abs=0.1)
    assert points[0][1] > points[2][1]
    (mark,) = list(parsed(drawing.svg).iter("circle"))
    assert (float(mark.attrib["cx"]), float(mark.attrib["cy"])) == points[1]
    assert mark[0].text == "half"


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    drawing = line_chart("d", [Line("a", [(x, x % 7) for x in range(10_000)])], "x", "y")
    points = next(parsed(drawing.svg).iter("polyline")).attrib["points"].split()
    assert len(points) == 400
    assert float(points[0].split(",")[0]) == 58
    assert float(points[-1].split(",")[0]) == 546


def test_bars_start_at_zero_and_are_as_long_as_their_values() -> None:
    drawing = bar_chart("d", ["a", "b", "c"], [Bars("one", [1.0, -0.5, None])], -1, 1)
    bars = [element for element in parsed(drawing.svg).iter("rect") if element.attrib["class"] == "bar s0"]
    assert len(bars) == 2
    (x, width), (left, half) = [(float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in bars]
    assert half == pytest.approx(width / 2, abs=0.1)
    assert left + half == pytest.approx(x, abs=0.15)  # each is rounded to a tenth


def test_matrix_has_a_cell_for_each_confusion() -> None:
    names = [f"class {place}" for place in range(3)]
    drawing = matrix("d", names, [[100, 0, 0], [25, 75, 0], [0, 0, 0]], 1)
    cells = [element for element in parsed(drawing.svg).iter("rect") if element.attrib["class"] == "cell"]
    assert [(cell[0].text, cell.attrib["opacity"]) for cell in cells] == [
        ("class 0 taken for class 0: 100.0 %", "1.00"),
        ("class 1 taken for class 0: 25.0 %", "0.50"),
        ("class 1 taken for class 1: 75.0 %", "0.87"),
    ]
    assert len(list(parsed(drawing.svg).iter("path"))) == 1
    assert matrix("d", [str(place) for place in range(70)], [[0.0] * 70] * 70, 0).width > WIDE


def test_names_in_charts_are_text(tmp_path: Path) -> None:
    drawings = [
        line_chart(EVIL, [Line(EVIL, [(0, 1)], [((0, 1), EVIL)]), Line("b", [(1, 1)])], EVIL, EVIL),
        bar_chart(EVIL, [EVIL, "b"], [Bars(EVIL, [0.5, 1])], 0, 1),
        matrix(EVIL, [EVIL, "b"], [[50, 50], [0, 100]], 0),
    ]
    for drawing in drawings:
        assert {element.tag for element in parsed(drawing.svg).iter()} <= {
            "svg",
            "text",
            "title",
            "rect",
            "path",
            "circle",
            "polyline",
        }
    write_page(tmp_path / "page.html", "t", "l", [Charts("c", [(drawing, EVIL) for drawing in drawings])])
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


def test_training_charts_show_each_kind_that_was_logged(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(
        '{"step": 1, "loss/total": 2.0, "lr/heads": 0.1}\n{"step": 2, "loss/total": 1.0, "lr/heads": 0.1}\n{"step": 3, "lo'
    )
    assert [caption for _, caption in training_charts(metrics)] == ["Loss terms, weighted; total is their sum.", "Learning rate."]
    assert training_charts(tmp_path / "none") == []


def test_correlations_are_pearsons_and_none_where_nothing_varies() -> None:
    random = np.random.default_rng(0)
    predicted, wanted = random.standard_normal((40, 3)), random.standard_normal((40, 3))
    wanted[:, 2] = 1
    found = correlations(predicted, wanted)
    assert found[:2] == pytest.approx([np.corrcoef(predicted[:, k], wanted[:, k])[0, 1] for k in range(2)])
    assert found[2] is None
