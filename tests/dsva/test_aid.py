"""Training on real scenes teaches something about classes that were never seen."""

import json
from pathlib import Path

import pytest

from dsva.config import load
from dsva.train.run import run
from shards.pack import pack
from shards.sources import open_source

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shards(aid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of AID, packed."""
    return pack(open_source(aid / "images"), tmp_path_factory.mktemp("aid") / "shards", workers=2).shards.root


def test_unseen_classes_of_aid_are_recognised_above_chance(shards: Path, tmp_path: Path) -> None:
    short = ["train.steps=80", "data.image_size=60", "data.resize=72", "optimizer.warmup_steps=15", "run.log_every=40"]
    overrides = [f"data.shards={shards}", f"run.dir={tmp_path / 'run'}", *short]
    assert run(load(ROOT / "configs" / "aid_25_5.yaml", overrides)) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["chance"]["zsl"] == 0.2
    heads = [results["heads"][name] for name in ("proto", "main")]
    assert max(head["zsl"] for head in heads) > 0.25
    assert max(head["gzsl"]["ausuc"] for head in heads) > 5 * results["chance"]["ausuc"]
