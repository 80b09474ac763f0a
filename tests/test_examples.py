"""docs/examples/: followed step by step."""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsva.evaluation.results import Results
from dsva.run_directory import RESULTS
from tests.helpers.noise import noise
from tests.helpers.pages import ROOT, blocks, commands, files, invoke

IMAGES, SIDE = 12, 64  # of each class; pixels
SMALL = ["model.width=32", "model.layers=1", "model.heads=2", "model.mlp=32", "data.image_size=48", "data.resize=56"]
SMALL += ["train.steps=6", "data.batch_size=12"]


def draw(table: str) -> None:
    """Draw images whose colours go by the first attributes of their class."""
    rng = np.random.default_rng(0)
    for row in csv.DictReader(io.StringIO(table)):
        folder = Path("MINE") / "images" / row["class"]
        folder.mkdir(parents=True)
        colour = np.array([float(value) for value in list(row.values())[1:4]]) * 160
        for number in range(IMAGES):
            noise = rng.uniform(0, 90, (SIDE, SIDE, 3))
            Image.fromarray((noise + colour).astype(np.uint8)).save(folder / f"{number}.jpg")


def test_own_data_set_from_nothing_to_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/examples/own_data.md"
    monkeypatch.chdir(tmp_path)
    written = files(page)
    draw(written["MINE/attributes.csv"])
    for name, text in written.items():
        Path(name).write_text(text)
    for command in commands(page):
        invoke(command + (SMALL if "train" in command else []))
    results = Results.read(Path("RUNS/mine") / RESULTS)
    assert set(results.unseen) == {"Marina", "Terraces"}
    assert results.heads["proto"].gzsl
    assert (tmp_path / "RUNS" / "mine" / "results.md").is_file()
    assert (tmp_path / "RUNS" / "mine" / "report.html").is_file()
    predicted = Path("MINE/predictions.csv").read_text().splitlines()
    assert len(predicted) == 1 + 8 * IMAGES


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with all changes of the page applied."""
    root = tmp_path_factory.mktemp("changed")
    for folder in ("configs", "dsva", "launch", "shards", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for change in blocks("docs/examples/own_head.md", "diff"):
        subprocess.run(["git", "apply", "--whitespace=error", "-"], cwd=root, input=change, text=True, check=True)
    return root


def python(code: Path, *arguments: str) -> None:
    """Run the interpreter on other code than this."""
    environment = {**os.environ, "PYTHONPATH": f"{code}:{code / 'tests' / 'dsva'}"}
    subprocess.run([sys.executable, *arguments], cwd=code, env=environment, check=True, timeout=300)


def test_own_head_and_loss_term_are_held_by_the_test_that_the_page_names(changed: Path) -> None:
    python(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/dsva/test_losses.py")


def test_own_head_and_loss_term_train_and_change_nothing_that_does_not_ask_for_them(changed: Path, tmp_path: Path) -> None:
    made = noise(tmp_path)
    old, same, new = tmp_path / "old", tmp_path / "same", tmp_path / "new"
    train = ["dsva", "train", str(made.config)]
    invoke([*train, f"run.dir={old}"])
    asked = ["model.main_head=deep", "loss.agreement=0.1", f"run.dir={new}"]
    calls = [[*train, f"run.dir={same}"], ["dsva", "eval", str(old)], [*train, *asked]]
    python(changed, "-c", f"from tests.helpers.pages import invoke\nfor call in {calls}: invoke(call)")
    hashes = [Results.read(run / RESULTS).provenance.weights_sha256 for run in (old, same, new)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert "agreement" in (new / "metrics.jsonl").read_text()
