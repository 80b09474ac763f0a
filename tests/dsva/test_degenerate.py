"""Every figure, table and picture of scores that say little: nothing right, all equal, one class, one image, and their like."""

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from dsva.evaluation.bootstrap import intervals
from dsva.evaluation.decisions_file import DecisionsFile
from dsva.evaluation.metrics import Decisions, chance, curve, decide
from dsva.evaluation.plots import draw_confusion, draw_curve
from dsva.evaluation.results import Provenance, Results, measure
from dsva.evaluation.tables import confidence, per_class, spent, summary
from dsva.report.charts import Bars, Line, bar_chart, line_chart, matrix
from dsva.report.curves import (
    attribute_charts,
    class_charts,
    confusion_charts,
    correlations,
    seen_unseen_charts,
    training_charts,
)
from dsva.report.page import Charts, Section, TableSection, write_page
from dsva.run_directory import DECISIONS, RESULTS
from dsva.studies.ablation import Variant
from dsva.studies.ablation import table as ablation_table
from launch.cli.main import app
from launch.jobs.folder import JobFolder
from launch.sweep.plan import Cell, Manifest, SweepConfig
from launch.sweep.table import as_csv, as_latex, sweep_table
from shards.errors import UserError
from tests.helpers.odd_names import ODD

SOURCES = ("proto", "main", "ridge")


@dataclass(frozen=True)
class Case:
    """Scores of images, the same for all sources; names of classes are odd."""

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    n_seen: int
    gamma: float = 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(f"{ODD[place % len(ODD)].encode(errors='replace').decode()} {place}" for place in range(self.scores.shape[1]))

    @property
    def decisions(self) -> dict[str, Decisions]:
        return dict.fromkeys(SOURCES, decide(self.scores, self.labels, self.n_seen))

    def results(self, seed: int = 0) -> Results:
        measured = {name: measure(decided, self.classes, self.gamma, "given") for name, decided in self.decisions.items()}
        for name, (images, classes) in intervals(self.decisions, dict.fromkeys(SOURCES, self.gamma)).items():
            measured[name] = measured[name].model_copy(update={"over_images": images, "over_classes": classes})
        n_unseen = len(self.classes) - self.n_seen
        return Results(
            protocol="honest",
            seen=self.classes[: self.n_seen],
            unseen=self.classes[self.n_seen :],
            images={"train": 1, "seen_test": int((self.labels < self.n_seen).sum()), "unseen_test": 1},
            warnings=(f"{ODD[0]} is odd",),
            heads=measured,
            chance=chance(self.n_seen, n_unseen),
            provenance=made(seed),
        )


def made(seed: int) -> Provenance:
    texts = ("run_dir", "checkpoint_sha256", "data", "data_digest", "attributes_sha256", "attributes_meaning", "splits_sha256")
    known = {"model": {"backbone": "random"}, "eval": {"validation_run": None}}
    return Provenance(
        **dict.fromkeys(texts, "$x$"),
        checkpoint_step=0,
        split=ODD[0],
        seed=seed,
        config=known,
        code={},
        packages={},
        device="cpu",
        date="",
    )


def labelled(n_seen: int, n_unseen: int, each: int = 3) -> NDArray[np.int64]:
    return np.repeat(np.arange(n_seen + n_unseen), each)


def wrong(labels: NDArray[np.int64], n_seen: int, n_classes: int) -> NDArray[np.float64]:
    """Scores that are right neither among the seen, nor among the unseen, nor among all classes."""
    scores = np.zeros((len(labels), n_classes))
    for image, label in enumerate(labels):
        first, count = (0, n_seen) if label < n_seen else (n_seen, n_classes - n_seen)
        scores[image, first + (label - first + 1) % count] = 1
    return scores


EIGHT = labelled(5, 3)
RIGHT = np.eye(8)[EIGHT]
CASES = {
    "nothing is right at any gamma": Case(wrong(EIGHT, 5, 8), EIGHT, 5),
    "nothing is right at a gamma": Case(wrong(EIGHT, 5, 8), EIGHT, 5, gamma=0.7),
    "all is right": Case(RIGHT, EIGHT, 5),
    "all scores are 0": Case(np.zeros((24, 8)), EIGHT, 5),
    "all scores are equal and large": Case(np.full((24, 8), 1e30), EIGHT, 5),
    "scores hardly differ": Case(RIGHT * 1e-12, EIGHT, 5),
    "scores differ beyond measure": Case(RIGHT * 1e200, EIGHT, 5),
    "gamma lets no seen class win": Case(RIGHT, EIGHT, 5, gamma=1e9),
    "gamma lets no unseen class win": Case(RIGHT, EIGHT, 5, gamma=-1e300),
    "one class of each kind": Case(np.eye(2)[labelled(1, 1)], labelled(1, 1), 1),
    "one unseen class": Case(np.eye(6)[labelled(5, 1)], labelled(5, 1), 5),
    "one image": Case(np.eye(8)[[6]], np.array([6]), 5),
    "one image of a seen class": Case(np.eye(8)[[1]], np.array([1]), 5),
    "no test images of seen classes": Case(RIGHT[15:], EIGHT[15:], 5),
    "some classes without test images": Case(RIGHT[::6], EIGHT[::6], 5),
}


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def svg_numbers(svg: str) -> None:
    """Check that a drawing is well-formed and that its places are numbers."""
    for element in ElementTree.fromstring(svg).iter():
        for name in ("x", "y", "x1", "cx", "cy", "width", "height", "points", "d", "transform", "opacity"):
            assert not re.search(r"nan|inf|-?\d{6,}", element.attrib.get(name, ""), re.IGNORECASE), element.attrib


def test_tables_hold_numbers(case: Case) -> None:
    results = case.results()
    tables = [summary(results), confidence(results), per_class(results)]
    tables.append(ablation_table([(Variant("as configured", ()), [results, case.results(1)]), (Variant("v", ()), [results])]))
    for table in tables:
        screen = StringIO()
        Console(file=screen, width=300).print(table.rich())
        for text in (table.markdown(), screen.getvalue()):
            assert not re.search(r"\bnan\b|\binf\b", text, re.IGNORECASE)
    assert [row[0] for row in summary(results).rows] == [*SOURCES, "chance"]


def test_figures_are_shares(case: Case, tmp_path: Path) -> None:
    results = case.results()
    results.write(tmp_path / RESULTS)
    assert Results.read(tmp_path / RESULTS) == results
    for head in results.heads.values():
        figures = [head.zsl]
        if head.gzsl:
            figures += [head.gzsl.seen, head.gzsl.unseen, head.gzsl.harmonic, head.gzsl.ausuc, head.gzsl.best_harmonic]
        assert all(-1e-9 <= figure <= 1 + 1e-9 for figure in figures)
        for told in (head.over_images, head.over_classes):
            assert told
            assert 0 <= told.zsl.low <= told.zsl.high <= 1


def test_pictures_are_drawn(case: Case, tmp_path: Path) -> None:
    decided, n_seen = case.decisions["proto"], case.n_seen
    draw_confusion(tmp_path / "zsl.png", decided.zsl()[n_seen:, n_seen:], case.classes[n_seen:], 0, "ZSL")
    draw_confusion(tmp_path / "gzsl.png", decided.gzsl(case.gamma), case.classes, n_seen, "GZSL")
    draw_curve(tmp_path / "curve.png", {name: (curve(each), case.gamma) for name, each in case.decisions.items()}, ODD[0])
    for picture in tmp_path.iterdir():
        with Image.open(picture) as image:
            assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 20


def test_charts_and_their_page_are_drawn(case: Case, tmp_path: Path) -> None:
    results = case.results()
    found = [
        *seen_unseen_charts(results, case.decisions),
        *confusion_charts(results, case.decisions, "proto"),
        *class_charts(results),
    ]
    for drawing, _ in found:
        svg_numbers(drawing.svg)
    assert len(found) == (8 if results.heads["proto"].gzsl else 2)
    sections: list[Section] = [TableSection(summary(results)), TableSection(per_class(results)), Charts("charts", found)]
    write_page(tmp_path / "page.html", ODD[0], ODD[1], sections)
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


def test_where_nothing_is_right_the_lines_lie_at_zero() -> None:
    case = CASES["nothing is right at a gamma"]
    assert len(curve(case.decisions["proto"]).breaks) == 0
    against, *over = seen_unseen_charts(case.results(), case.decisions)
    (zero,) = re.findall(r'<text class="end" x="52" y="([\d.]+)">0</text>', against[0].svg)
    for line in ElementTree.fromstring(over[0][0].svg).iter("polyline"):
        assert len({point.split(",")[1] for point in line.attrib["points"].split()}) == 1
    for mark in ElementTree.fromstring(against[0].svg).iter("circle"):
        assert float(mark.attrib["cy"]) == pytest.approx(float(zero) - 4, abs=0.2)
    assert "H 0.0 %" in against[0].svg
    assert "gamma that was used, 0.7" in over[0][1]


def test_over_gamma_the_figures_are_steps_and_the_dots_lie_on_them() -> None:
    labels = np.array([0, 1, 2, 3])
    scores = np.array([[3, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [2, 0, 0, 1]], float)
    case = Case(scores, labels, 2, gamma=2.0)
    _, (drawing, _), *_ = seen_unseen_charts(case.results(), case.decisions)
    places = []
    for line in ElementTree.fromstring(drawing.svg).iter("polyline"):
        at = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(at))
        places.append(at)
    assert places[0][0][1] == places[1][-1][1] == min(y for _, y in places[0])  # S is 100 % on the left, U on the right
    assert places[0][-1][1] == places[1][0][1] == max(y for _, y in places[0])
    for at, mark in zip(places, ElementTree.fromstring(drawing.svg).iter("circle"), strict=True):
        x, y = float(mark.attrib["cx"]), float(mark.attrib["cy"])
        assert any(a[0] <= x <= b[0] and y == a[1] == b[1] for a, b in itertools.pairwise(at))


def sweep_of(case: Case, folder: Path) -> Manifest:
    config = SweepConfig.model_validate({"splits": {ODD[0]: {}, "B & [C]": {}}, "protocols": {"GZSL": {}}, "seeds": [0, 1]})
    sizes = {"steps": 3, "batch_size": 12, "varied": {}}
    cells = tuple(
        Cell(name=f"{place}-{seed}", split=split, protocol="GZSL", seed=seed, identity=f"{place}{seed}", **sizes)
        for place, split in enumerate(config.splits)
        for seed in (0, 1)
    )
    manifest = Manifest(sweep=config, overrides=(), cells=cells)
    manifest.write(folder)
    for cell in cells[:3]:
        run = folder / "cells" / cell.name
        run.mkdir(parents=True)
        case.results(cell.seed).write(run / RESULTS)
        DecisionsFile(np.arange(len(case.labels)), case.decisions, "$x$").write(run / DECISIONS)
        (run / "metrics.jsonl").write_text('{"step": 1, "loss/total": NaN}\n{"step": 2, "loss/total": 1e30}\n')
        JobFolder(run).write("done.json")
    return manifest


def test_a_sweep_has_its_table_and_its_page(case: Case, tmp_path: Path) -> None:
    manifest = sweep_of(case, tmp_path)
    table = sweep_table(tmp_path, manifest)
    for text in (as_csv(table), as_latex(table), table.markdown()):
        assert not re.search(r"\bnan\b|\binf\b", text, re.IGNORECASE)
    assert CliRunner().invoke(app, ["report", str(tmp_path)], catch_exceptions=False).exit_code == 0
    html = (tmp_path / "report.html").read_text()
    assert "3 of 4 runs are complete" in html
    for svg in re.findall(r"<svg.*?</svg>", html):
        svg_numbers(svg)


LONELY = {
    "one point": [(1.0, 5.0)],
    "one value, a large one": [(1.0, 1e20), (2.0, 1e20)],
    "no point": [],
    "none that is finite": [(1.0, math.nan), (2.0, math.inf)],
    "some that are not finite": [(1.0, math.nan), (2.0, 3.0), (3.0, -math.inf), (4.0, 4.0)],
    "values that hardly differ": [(0.0, 1e16), (1.0, 1e16 + 2)],
    "values that are hardly there": [(0.0, 0.0), (1.0, 5e-324)],
    "large values": [(0.0, -1e300), (1.0, 1e300)],
    "values beyond measure": [(0.0, -1e308), (1.0, 1e308), (2.0, 1.0)],
}


@pytest.mark.parametrize("points", LONELY.values(), ids=LONELY)
def test_lines_of_few_or_strange_points_are_drawn(points: list[tuple[float, float]]) -> None:
    svg = line_chart("d", [Line("a", points), Line("b", points[:1])], "x", "y").svg
    svg_numbers(svg)
    drawn = next(ElementTree.fromstring(svg).iter("polyline")).attrib["points"].split()
    assert len(drawn) == sum(abs(value) < 1e301 for _, value in points)


def test_bars_and_matrices_of_one_row_or_none_are_drawn() -> None:
    for drawing in (
        bar_chart("d", ["a"], [Bars("one", [None])], 0, 100),
        bar_chart("d", [], [Bars("one", [])], 0, 100),
        matrix("d", ["a"], [[0.0]], 0),
        matrix("d", [], [], 0),
    ):
        svg_numbers(drawing.svg)


def test_training_that_diverged_has_its_charts(tmp_path: Path) -> None:
    lines = [{"step": step, "loss/total": value, "gradient_norm": math.inf} for step, value in enumerate((1.0, math.nan, 2.0))]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for drawing, _ in training_charts(tmp_path / "metrics.jsonl"):
        svg_numbers(drawing.svg)


@pytest.mark.parametrize("images", [1, 3])
def test_attributes_that_do_not_vary_have_no_bar(images: int) -> None:
    flat = np.ones((images, 2))
    ((drawing, _),) = attribute_charts(["$a$", "b"], correlations(flat, flat), [None, None])
    svg_numbers(drawing.svg)
    assert 'class="bar s0"' not in drawing.svg


BROKEN: dict[str, Callable[[dict[str, object]], object]] = {
    "heads": lambda value: value["heads"].pop("main"),  # type: ignore[attr-defined]
    "heads.proto.zsl": lambda value: value["heads"]["proto"].pop("zsl"),  # type: ignore[index]
    "heads.proto.gzsl.ausuc": lambda value: value["heads"]["proto"]["gzsl"].pop("ausuc"),  # type: ignore[index]
    "heads.proto.zsl_classes.0.total": lambda value: value["heads"]["proto"]["zsl_classes"][0].update(total=0),  # type: ignore[index]
    "chance": lambda value: value["chance"].pop("ausuc"),  # type: ignore[attr-defined]
    "unseen": lambda value: value.pop("unseen"),
    "provenance.split": lambda value: value["provenance"].pop("split"),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("place", BROKEN)
def test_results_that_lack_a_figure_are_refused_by_its_name(place: str, tmp_path: Path) -> None:
    CASES["all is right"].results().write(tmp_path / RESULTS)
    value = json.loads((tmp_path / RESULTS).read_text())
    BROKEN[place](value)
    (tmp_path / RESULTS).write_text(json.dumps(value))
    with pytest.raises(UserError, match=rf"results\.json: .*\b{re.escape(place)}\b.*: evaluate the run again$"):
        Results.read(tmp_path / RESULTS)


@pytest.mark.parametrize("missing", ["over_images", "over_classes", "optimism", "cost", "ridge"])
def test_results_of_an_older_version_have_all_tables(missing: str, tmp_path: Path) -> None:
    CASES["all is right"].results().write(tmp_path / RESULTS)
    value = json.loads((tmp_path / RESULTS).read_text())
    for part in (value, value["provenance"], value["heads"], *value["heads"].values()):
        part.pop(missing, None)
    (tmp_path / RESULTS).write_text(json.dumps(value))
    older, now = Results.read(tmp_path / RESULTS), CASES["all is right"].results()
    for table in (summary(older), confidence(older), per_class(older), ablation_table([(Variant("v", ()), [now, older])])):
        assert table.markdown()


def test_costs_of_nothing_are_told() -> None:
    cost = {"device": "$cpu$", "processes": 1, "hours": 0.0, "images_per_second": 0.0, "tflops": 0.0, "memory_mib": 0.0}
    from dsva.usage import Cost

    assert "0.00 h on 1 x $cpu$" in spent(Cost(**cost, mfu=None, kwh=None))
