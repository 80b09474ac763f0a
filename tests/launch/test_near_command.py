"""`dsva shards near` on the real command line: what it says, draws and lists."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from launch.cli.main import main

ODD = ("[red]$x_1$", "森林")  # class names: markup, mathematics, signs that few fonts have


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    """Run `dsva ARGUMENTS`; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["dsva", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code or 0


def scene(seed: int) -> Image.Image:
    fields = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(fields).resize((144, 144), Image.Resampling.NEAREST)


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A set with a scene in two classes, twice in one class, and others once."""
    images = {f"{ODD[0]}/one": scene(1), f"{ODD[0]}/two": scene(2), f"{ODD[0]}/three": scene(3)}
    images |= {f"{ODD[1]}/one": scene(1).resize((300, 300)), f"{ODD[0]}/again": scene(2).crop((1, 1, 143, 143))}
    for name, image in images.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "images" / f"{name}.png")
    assert call(monkeypatch, "pack", tmp_path / "images", tmp_path / "set[1]", "--workers", 1) == 0
    return tmp_path / "set[1]"


def test_pairs_are_drawn_and_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a" / "near[/]"
    out.mkdir(parents=True)
    (out / "near-002.png").write_bytes(b"of an earlier time")
    capsys.readouterr()
    assert call(monkeypatch, "shards", "near", shards, "--out", out) == 0
    said = capsys.readouterr().out
    assert "pairs of the same scene: 2; of them exact copies: 0, of different classes: 1" in said
    assert f"written: near-001.png to near-001.png with the first 2 pairs, and pairs.csv with all, in {out}" in said
    with Image.open(out / "near-001.png") as sheet:
        red = (np.asarray(sheet.convert("RGB")) == (0xB3, 0x26, 0x1E)).all(-1).sum()
    assert red > 1000, "the pair of different classes is marked"
    assert sorted(path.name for path in out.iterdir()) == ["near-001.png", "pairs.csv"]
    rows = list(csv.DictReader((out / "pairs.csv").open(encoding="utf-8")))
    same = [{row["image"], row["other image"], row["classes differ"]} for row in rows if row["same scene"] == "yes"]
    assert {f"{ODD[0]}/one", f"{ODD[1]}/one", "yes"} in same
    assert {f"{ODD[0]}/two", f"{ODD[0]}/again", "no"} in same
    assert {row["class"] for row in rows} | {row["other class"] for row in rows} <= set(ODD)


def test_no_pairs_are_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shards: Path, tmp_path: Path
) -> None:
    assert call(monkeypatch, "shards", "near", shards, "--distance", 0, "--shown", 0, "--out", tmp_path / "out") == 0
    assert "pairs.csv" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pairs.csv"]


def test_mistakes_get_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shards: Path, tmp_path: Path
) -> None:
    capsys.readouterr()
    for arguments, sentence in (
        ((shards, shards), "give it once"),
        ((tmp_path / "images",), "is not a shard set"),
        ((shards, "--out", shards / "set.json"), "cannot be used"),
    ):
        place = () if "--out" in arguments else ("--out", tmp_path / "out")
        assert call(monkeypatch, "shards", "near", *arguments, *place) == 2
        assert sentence in capsys.readouterr().err
    (shards / "shard-000000.tar").write_bytes(bytes(100_000))
    assert call(monkeypatch, "shards", "near", shards, "--out", tmp_path / "out") == 2
    assert "dsva shards verify" in capsys.readouterr().err
