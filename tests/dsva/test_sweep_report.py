"""The page of a sweep: every run is on it, missing ones by name, and a real browser shows it. No training: copies of one run."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsva.evaluation.results import Results
from dsva.run_directory import RESULTS
from launch.cli.main import app
from launch.jobs.folder import JobFolder
from launch.sweep.plan import Cell, Manifest, SweepConfig
from launch.sweep.table import sweep_table
from tests.helpers.browser import CONTRAST, Page

SPLITS: dict[str, dict[str, str]] = {"A": {}, "B & C": {}}
PUBLISHED = {"A": {"GZSL": {"ZSL": 84.0, "H": 67.7}}}


def cell(split: str, seed: int) -> Cell:
    name = f"{split[0]}-GZSL-seed{seed}"
    sizes = {"steps": 3, "batch_size": 12, "varied": {}, "identity": f"{split}{seed}"}
    return Cell(name=name, split=split, protocol="GZSL", seed=seed, **sizes)


@pytest.fixture(scope="module")
def sweep(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of split A are complete, of which one has a page; of the other split one has failed and one never began."""
    folder = tmp_path_factory.mktemp("sweeps") / "small"
    config = SweepConfig.model_validate({"splits": SPLITS, "protocols": {"GZSL": {}}, "seeds": [0, 1], "published": PUBLISHED})
    cells = tuple(cell(split, seed) for split in SPLITS for seed in (0, 1))
    Manifest(sweep=config, overrides=("train.steps=3",), cells=cells).write(folder)
    for each in cells[:2]:
        run = folder / "cells" / each.name
        shutil.copytree(run_dir, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
        JobFolder(run).write("done.json")
    (folder / "cells" / cells[0].name / "report.html").write_text("its own page")
    JobFolder(folder / "cells" / cells[2].name).fail("data.shards is <gone>", 2)
    return folder


@pytest.fixture(scope="module")
def page(sweep: Path) -> Path:
    said = CliRunner().invoke(app, ["report", str(sweep)], catch_exceptions=False)
    assert said.exit_code == 0
    return sweep / "report.html"


def test_headline_runs_and_provenance_are_on_it(sweep: Path, page: Path) -> None:
    html, manifest = page.read_text(), Manifest.read(sweep)
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    table = sweep_table(sweep, manifest)
    assert "2 of 4 runs are complete; 2 are missing and named below." in said
    assert table.note in said
    for row in table.rows:
        assert " ".join(cell for cell in (row[0].replace("&", "&amp;"), *row[1:]) if cell) in said
    assert "A GZSL published 84.0 67.7" in said
    assert "Published figures of DSVA on RSSDIVCS" in said
    results = Results.read(sweep / "cells" / manifest.cells[0].name / RESULTS)
    for wanted in (results.provenance.data_digest, results.provenance.attributes_sha256, "train.steps=3", "overrides"):
        assert wanted in said
    assert "failed: data.shards is &lt;gone&gt;" in said
    assert "never started" in said
    assert re.findall(r'href="([^#"]+)"', html) == [f"cells/{manifest.cells[0].name}/report.html"]


def test_curves_of_the_seeds_lie_over_one_another(sweep: Path, page: Path) -> None:
    html = page.read_text()
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", html)
    assert titles[2:6] == [
        "Runs",
        "Training loss, seeds over one another",
        "Seen against unseen classes, seeds over one another",
        "Unseen classes",
    ]
    losses, against = re.findall(r"<svg.*?</svg>", html, re.DOTALL)[:2]
    assert losses.count("<polyline") == against.count("<polyline") == 2
    metrics = [json.loads(line) for line in (sweep / "cells" / "A-GZSL-seed0" / "metrics.jsonl").read_text().splitlines()]
    points = re.findall(r'points="([^"]*)"', losses)
    assert [len(each.split()) for each in points] == [sum("loss/total" in line for line in metrics)] * 2
    assert "seed 1, AUSUC" in against


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 400)])
def test_browser_shows_it_without_a_complaint(tab: Page, page: Path, dark: bool, width: int) -> None:
    tab.open(page, dark=dark, width=width)
    assert tab.complaints == []
    assert tab.run("[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().height > 50)")
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run(CONTRAST) >= 4.5


def test_the_link_to_a_runs_own_page_leads_there(tab: Page, page: Path) -> None:
    tab.open(page)
    target = tab.run("decodeURIComponent(document.querySelector('th a').href)").removeprefix("file://")
    assert Path(target).read_text() == "its own page"


def test_exemplars_are_marked(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep, tmp_path / "sweep")
    results = tmp_path / "sweep" / "cells" / "A-GZSL-seed1" / RESULTS
    results.write_text(results.read_text().replace('"honest"', '"exemplars"', 1))
    assert CliRunner().invoke(app, ["report", str(tmp_path / "sweep")], catch_exceptions=False).exit_code == 0
    assert (tmp_path / "sweep" / "report.html").read_text().count("Protocol: honest, exemplars. NOT ZERO-SHOT: rows of unseen") == 2


def test_a_sweep_without_results_has_a_page_too(sweep: Path, tmp_path: Path) -> None:
    shutil.copy(sweep / "manifest.json", tmp_path)
    assert CliRunner().invoke(app, ["report", str(tmp_path)], catch_exceptions=False).exit_code == 0
    assert "0 of 4 runs are complete; 4 are missing" in (tmp_path / "report.html").read_text()
