"""The demonstration: scenes of classes that were never seen are recognised, and the page shows it."""

import json
from io import StringIO
from pathlib import Path

import pytest

from dsva.demo import run as demo
from dsva.demo.run import run_demo
from dsva.inference.predict import predict
from dsva.inference.viewer import New, Viewer
from shards.errors import UserError

# The unseen classes under other names, told in plain words.
TOLD = {
    "BeachResort": "Resort: sand, water, swimming pools, houses and some trees",
    "Oasis": "Green spot: sand, water, trees, crops in rows",
    "OilTerminal": "Terminal: paving, water, round tanks and boats",
    "PolarAirfield": "Airfield: snow, a runway, aircraft, containers",
    "RailwayTown": "Town: grass, a railway, houses, parked cars",
}


def check_new_classes(run: Path, images: Path) -> None:
    """Classes that were never seen are found by their names in the table, and by descriptions of classes the table has not."""
    folders = [str(images / name) for name in TOLD]
    by_name = predict(Viewer.open(run, "proto", tuple(TOLD)), folders, 1)
    by_words = predict(Viewer.open(run, "proto", (), New(described=tuple(TOLD.values()))), folders, 1)
    for made, expected in ((by_name, {name: name for name in TOLD}), (by_words, {k: v.split(":")[0] for k, v in TOLD.items()})):
        right = sum(image.ranked[0][0] == expected[Path(image.image).parent.name] for image in made.images)
        assert right > 2 * len(made.images) / len(TOLD), "not even twice as good as chance"


def test_a_folder_that_cannot_be_used_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match="is not empty and holds no run"):
        run_demo(tmp_path / "demo", [f"run.dir={tmp_path / 'full'}"])
    assert not (tmp_path / "demo").exists()


SHORT = ["train.steps=24", "run.log_every=12"]


def test_unseen_classes_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: StringIO) -> None:
    monkeypatch.setattr(demo, "IMAGES_PER_CLASS", 24)
    assert run_demo(tmp_path, SHORT) == (tmp_path / "run", tmp_path / "run" / "report.html")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["chance"]["zsl"] == 0.2
    assert max(head["zsl"] for head in results["heads"].values()) > 0.4
    assert all("validation run" in head["gzsl"]["gamma_source"] for head in results["heads"].values())
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 20
    check_new_classes(tmp_path / "run", tmp_path / "scenes" / "images")
    before = said.tell()
    monkeypatch.setattr(demo, "write_report", lambda run: run / "report.html")  # once is enough
    run_demo(tmp_path, SHORT)
    assert "continuing from" in said.getvalue()[before:]
