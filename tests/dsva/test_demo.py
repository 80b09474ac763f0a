"""The demonstration: scenes of classes that were never seen are recognised, and the page shows it."""

import io
import json
from pathlib import Path

from rich.console import Console

from dsva.demo.run import run_demo

SHORT = ["train.steps=32", "run.log_every=16"]


def test_unseen_classes_are_recognised(tmp_path: Path) -> None:
    said = io.StringIO()
    assert run_demo(tmp_path, SHORT, Console(file=said)) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["chance"]["zsl"] == 0.2
    assert max(head["zsl"] for head in results["heads"].values()) > 0.4
    assert all("validation run" in head["gzsl"]["gamma_source"] for head in results["heads"].values())
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 20
    assert "report.html" in said.getvalue()
    before = said.tell()
    assert run_demo(tmp_path, SHORT, Console(file=said)) == 0
    assert "continuing from" in said.getvalue()[before:]
