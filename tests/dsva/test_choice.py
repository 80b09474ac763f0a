"""Values and gamma are chosen on validation classes; the final run takes them, and nothing of the test."""

import json
import shutil
from io import StringIO
from pathlib import Path
from statistics import fmean

import pytest
from typer.testing import CliRunner

from dsva.config import load
from dsva.evaluation.gamma import CHOICE
from dsva.evaluation.results import Results
from dsva.run_directory import RESULTS
from dsva.studies.choice import CHOSEN, TABLE, choose
from dsva.train.run import run
from launch.cli.main import app
from shards.errors import UserError
from tests.helpers.small_runs import SEEN, SIZES, UNSEEN, small_config, small_set

POINTS = ("optimizer.lr=0.0001", "optimizer.lr=0.01")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A configuration file of the small experiment, and overrides."""
    folder = tmp_path_factory.mktemp("choice")
    small_set(folder)
    config = small_config(folder)
    (folder / "final.yaml").write_text("")
    return folder, [
        f"data.shards={config.data.shards}",
        f"classes.attributes={config.classes.attributes}",
        f"classes.splits={config.classes.splits}",
        "classes.split=small",
        f"run.dir={folder / 'chosen'}",
        *SIZES,
    ]


@pytest.fixture(scope="module")
def chosen(places: tuple[Path, list[str]]) -> Path:
    folder, overrides = places
    vary = ["--vary", "optimizer.lr=0.0001,0.01"]
    made = CliRunner().invoke(app, ["choose", f"{folder / 'final.yaml'}", *overrides, *vary], catch_exceptions=False)
    assert made.exit_code == 0
    return folder / "chosen"


def validated(chosen: Path, point: str) -> list[Results]:
    return [Results.read(chosen / point / f"partition_{part}" / RESULTS) for part in (0, 1, 2)]


def test_steps_rate_temperature_and_loss_weights_can_be_chosen_together(places: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, overrides = places
    grid = {"train.steps": ["2"], "optimizer.lr": ["0.01"], "scores.temperature": ["0.05"], "loss.compactness": ["1e-8"]}
    assert choose(folder / "final.yaml", [*overrides, f"run.dir={tmp_path}"], grid, "main")[1] == tmp_path / CHOSEN
    final = load(tmp_path / CHOSEN)
    assert (final.train.steps, final.optimizer.lr, final.scores.temperature, final.loss.compactness) == (2, 0.01, 0.05, 1e-8)
    assert final.eval.validation_run == tmp_path
    assert len(list(tmp_path.glob("*/partition_*/results.json"))) == 3


def test_the_point_with_the_highest_mean_is_chosen_on_seen_classes_alone(chosen: Path) -> None:
    means = {}
    for point in POINTS:
        found = validated(chosen, point)
        assert sorted(sum((results.unseen for results in found), ())) == sorted(SEEN)
        assert all(set((*results.seen, *results.unseen)).isdisjoint(UNSEEN) for results in found)
        means[point] = fmean(results.heads["proto"].gzsl.best_harmonic for results in found if results.heads["proto"].gzsl)
    best = max(means, key=lambda point: means[point])
    assert json.loads((chosen / CHOICE).read_text())["changes"] == [best]
    text = (chosen / TABLE).read_text()
    assert f"| {best} (chosen) |" in text
    assert all(f" {100 * mean:.1f} |" in text for mean in means.values())
    final = load(chosen / CHOSEN)
    assert f"optimizer.lr={final.optimizer.lr}" == best
    assert (final.validation.partition, final.run.dir) == (None, chosen / "final")


def test_the_final_run_takes_the_mean_of_the_chosen_gammas(chosen: Path) -> None:
    assert run(load(chosen / CHOSEN)) == 0
    results = Results.read(chosen / "final" / RESULTS)
    [best] = json.loads((chosen / CHOICE).read_text())["changes"]
    assert results.seen == SEEN
    for name in ("proto", "main", "ridge"):
        gzsl = results.heads[name].gzsl
        assert gzsl is not None
        validations = [found.heads[name].gzsl for found in validated(chosen, best)]
        assert gzsl.gamma == fmean(found.best_gamma for found in validations if found)
        assert gzsl.gamma_source == f"mean of 3 validation runs in {chosen}"


def test_the_same_command_trains_nothing_again(chosen: Path, places: tuple[Path, list[str]], said: StringIO) -> None:
    folder, overrides = places
    before = {path: path.stat().st_mtime_ns for path in chosen.rglob("metrics.jsonl")}
    choose(folder / "final.yaml", overrides, {"optimizer.lr": ["0.0001", "0.01"]}, "proto")
    assert said.getvalue().count("finished before") == 6
    assert {path: path.stat().st_mtime_ns for path in chosen.rglob("metrics.jsonl")} == before


def test_a_choice_made_for_another_split_is_refused(chosen: Path, places: tuple[Path, list[str]]) -> None:
    """Its validation classes could be test classes here."""
    splits = json.loads((places[0] / "splits.json").read_text())
    (chosen / "other.json").write_text(
        json.dumps({"small": {"seen": splits["small"]["unseen"] + ["Airport"], "unseen": list(SEEN[1:])}})
    )
    with pytest.raises(UserError, match="differs from this run in the split file"):
        run(
            load(chosen / CHOSEN, [f"classes.splits={chosen / 'other.json'}", "validation.partition=null"]),
        )


def test_a_choice_that_points_outside_its_folder_is_refused(chosen: Path, tmp_path: Path) -> None:
    shutil.copy(chosen / CHOSEN, tmp_path / "c.yaml")
    (tmp_path / CHOICE).write_text(json.dumps({"runs": ["../elsewhere"]}))
    said = r"choice.json: runs: the run '\.\./elsewhere' is outside of the folder: run `dsva choose` again$"
    with pytest.raises(UserError, match=said):
        run(load(tmp_path / "c.yaml", [f"eval.validation_run={tmp_path}"]))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--vary", "train.steps"], "--vary train.steps is not of the form section.key=A,B,C"),
        (["--vary", "train.steps=1,0"], r"train\.steps=0"),
        (["validation.partition=1"], "must be the final, honest run"),
        (["eval.protocol=paper", "validation.every=2"], "must be the final, honest run"),
    ],
)
def test_impossible_grids_are_refused_before_anything_is_trained(
    places: tuple[Path, list[str]], tmp_path: Path, given: list[str], sentence: str
) -> None:
    folder, overrides = places
    with pytest.raises(UserError, match=sentence):
        CliRunner().invoke(
            app, ["choose", f"{folder / 'final.yaml'}", *overrides, f"run.dir={tmp_path / 'x'}", *given], catch_exceptions=False
        )
    assert not (tmp_path / "x").exists()
