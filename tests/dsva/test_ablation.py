"""The ablation table on a small experiment."""

import json
from io import StringIO
from pathlib import Path

import pytest

from dsva.config import Config, dump
from dsva.evaluation.results import Results
from dsva.run_directory import RESULTS
from dsva.studies.ablation import TABLE, ablate, planned, table, variants
from shards.errors import UserError
from tests.helpers.noise import Noise
from tests.helpers.small_runs import small_config, small_set

NAMES = [
    "as configured",
    "with regions",
    "without compactness",
    "main loss only",
    "prototype loss only",
    "without attribute errors",
    "dot products with raw rows",
]


def test_variants_are_those_that_change_something() -> None:
    assert [variant.name for variant in variants(Config())] == NAMES
    bare = {"loss": {"compactness": 0, "mse_main": 0, "mse_proto": 0}, "scores": {"kind": "dot"}, "model": {"regions": True}}
    names = [variant.name for variant in variants(Config.model_validate(bare))]
    assert names == ["as configured", "without regions", "main loss only", "prototype loss only"]


def test_one_command_trains_all_and_the_same_again_trains_nothing(tmp_path: Path, said: StringIO) -> None:
    small_set(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(dump(small_config(tmp_path, ["run.seed=3"])))
    given = ["train.steps=1", f"run.dir={tmp_path / 'ablation'}"]
    ablate(path, given, 1)
    made = (tmp_path / "ablation" / TABLE).read_text()
    rows = [line.split("|")[1].strip() for line in made.splitlines() if line.startswith("| ") and ":--" not in line]
    expected = [f"{name}, {head} head" for name in NAMES for head in ("proto", "main")]
    meaningless = {"main loss only, proto head", "prototype loss only, main head"}
    baselines = ["baseline: ridge", "baseline: eszsl", "chance"]
    assert rows == ["variant", *(row for row in expected if row not in meaningless), *baselines]
    full = json.loads((tmp_path / "ablation" / "as_configured" / "seed_3" / "results.json").read_text())
    figures = full["heads"]["proto"]
    cells = [figures["zsl"], *(figures["gzsl"][name] for name in ("seen", "unseen", "harmonic", "ausuc"))]
    validated = json.loads((tmp_path / "ablation" / "as_configured" / "validation" / "results.json").read_text())
    assert figures["gzsl"]["gamma"] == validated["heads"]["proto"]["gzsl"]["best_gamma"]
    assert "Gamma: each variant has it from its own run on validation classes." in made
    assert f"| as configured, proto head | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |  |" in made
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("metrics.jsonl")}
    assert len(before) == 2 * len(NAMES)  # each variant has a validation run
    said.truncate(0)
    shown, target = ablate(path, given, 1)
    assert (shown.markdown(), target) == (made, tmp_path / "ablation" / TABLE)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("metrics.jsonl")} == before
    assert said.getvalue().count("finished before") == 2 * len(NAMES)
    assert (tmp_path / "ablation" / TABLE).read_text() == made


def test_seeds_become_mean_and_deviation(run_dir: Path) -> None:
    first = Results.read(run_dir / RESULTS)
    heads = {name: head.model_copy(update={"zsl": head.zsl + 0.1}) for name, head in first.heads.items()}
    made = first.provenance.model_copy(update={"seed": 1})
    second = first.model_copy(update={"heads": heads, "provenance": made})
    whole, part = list(variants(Config()))[:2]
    found = table([(whole, [first, second]), (part, [second, second])])
    zsl = 100 * first.heads["proto"].zsl
    assert found.rows[0][1] == f"{zsl + 5:.1f} ± 7.1"
    assert found.rows[0][-1] == ""
    assert found.rows[2][1] == f"{zsl + 10:.1f} ± 0.0"
    assert found.rows[2][-1] == "+5.0"
    assert "seeds 0, 1; mean and standard deviation." in found.note


def test_mistakes_are_told_before_anything_is_trained(tiny: Noise, tmp_path: Path) -> None:
    given = f"run.dir={tmp_path / 'run'}"
    few = tmp_path / "few.json"
    few.write_text(json.dumps({"split": {"seen": [f"class_{i}" for i in range(5)], "unseen": ["class_6"]}}))
    for overrides, sentence in (
        (["loss.ce_main=0", "loss.mse_main=0", "loss.compactness=0"], "all terms have weight 0"),
        (["eval.validation_run=RUNS/v"], "leave eval.validation_run out"),
        ([f"classes.splits={few}"], "5 seen classes are too few to find gamma on a third of them: give eval.gamma"),
    ):
        with pytest.raises(UserError, match=sentence):
            ablate(tiny.config, [given, *overrides], 1)
    assert not (tmp_path / "run").exists()
    assert all(row.validation is None for row in planned(tiny.config, [given, f"classes.splits={few}", "eval.gamma=0"], 1))
