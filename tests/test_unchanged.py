"""What `benchmarks.unchanged` takes for a difference, and what not. Quick."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.unchanged.compare import differences, table
from benchmarks.unchanged.facts import read_facts

RESULTS = {"heads": {"proto": {"zsl": 0.5, "classes": [1, 2]}}, "provenance": {"date": "today", "seed": 0}}


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same files, which name the folder that they lie in."""
    for name in ("old", "new"):
        run = tmp_path / name / "out" / "runs" / "a"
        (run / "checkpoints" / "step-00000001").mkdir(parents=True)
        save_file({"w": np.arange(4, dtype=np.float32)}, run / "checkpoints" / "step-00000001" / "rank-00000-of-00001.safetensors")
        (run / "results.json").write_text(json.dumps({**RESULTS, "data": str(run)}))
        (run / "metrics.jsonl").write_text('{"step": 1, "loss/total": 2.5, "seconds/data": 0.1}\n')
        (run / "strange.bin").write_bytes(b"abc")
        (run / "results.md").write_text(name)
    return tmp_path / "old", tmp_path / "new"


def found(sides: tuple[Path, Path]) -> list[str]:
    return differences(*map(read_facts, sides))


def test_folders_days_times_and_texts_for_people_are_no_difference(sides: tuple[Path, Path]) -> None:
    run = sides[1] / "out" / "runs" / "a"
    results = json.loads((run / "results.json").read_text())
    results["provenance"]["date"] = "tomorrow"
    (run / "results.json").write_text(json.dumps(results))
    (run / "metrics.jsonl").write_text('{"step": 1, "loss/total": 2.5, "seconds/data": 0.2}\n')
    assert found(sides) == []
    assert "equal" in table(*map(read_facts, sides))
    assert "differ" not in table(*map(read_facts, sides))


@pytest.mark.parametrize(
    ("file", "before", "after", "names"),
    [
        ("results.json", b"0.5", b"0.6", ["heads.proto.zsl: 0.5 then, 0.6 now"]),
        ("results.json", b"[1, 2]", b"[2, 1]", ["heads.proto.classes"]),
        ("results.json", b'"seed": 0', b'"seed": 1', ["provenance.seed"]),
        ("metrics.jsonl", b"2.5", b"2.500001", ["metrics.jsonl: loss/total"]),
        ("strange.bin", b"abc", b"abd", ["strange.bin: bytes"]),
        ("checkpoints/step-00000001/rank-00000-of-00001.safetensors", b"\x40", b"\x41", ["safetensors: bytes", "safetensors: w"]),
    ],
)
def test_a_changed_value_is_a_difference(
    sides: tuple[Path, Path], file: str, before: bytes, after: bytes, names: list[str]
) -> None:
    path = sides[1] / "out" / "runs" / "a" / file
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    lines = found(sides)
    assert len(lines) == len(names)
    assert all(name in line for name, line in zip(names, lines, strict=True))
    assert f"**{len(names)} of" in table(*map(read_facts, sides))


def test_files_on_one_side_only_are_differences(sides: tuple[Path, Path]) -> None:
    (sides[1] / "out" / "more.txt").write_text("")
    shutil.rmtree(sides[1] / "out" / "runs" / "a" / "checkpoints")
    lines = found(sides)
    assert len(lines) == 3
    assert "nothing then" in lines[0]
    assert all("nothing now" in line for line in lines[1:])
