"""The `paper` protocol: what choosing on the test classes gains, measured beside the honest figures of the same run."""

import json
from pathlib import Path

import pytest

from dsva.evaluation.paper_protocol import optimism
from dsva.evaluation.results import Results
from dsva.evaluation.tables import confidence, summary
from dsva.run_directory import RESULTS
from dsva.studies.ablation import Variant, table
from shards.errors import UserError
from tests.helpers.small_runs import small_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    overrides = ["eval.protocol=paper", "validation.every=2", "train.steps=10", "optimizer.lr=0.01", "data.ways=4"]
    return small_run(tmp_path_factory.mktemp("paper"), overrides)


def test_the_best_test_step_is_reported_beside_what_it_gains(made: Path) -> None:
    results = Results.read(made / RESULTS)
    lines = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    assert results.protocol == "paper"
    assert results.optimism is not None
    for name, found in results.optimism.items():
        scored = {line["step"]: line for line in lines if f"validation/{name}/zsl" in line}
        assert list(scored) == [2, 4, 6, 8, 10]
        head = results.heads[name]
        assert head.gzsl is not None
        assert found.zsl == max(line[f"validation/{name}/zsl"] for line in scored.values())
        assert found.harmonic == max(line[f"validation/{name}/harmonic"] for line in scored.values())
        assert found.zsl_gain == pytest.approx(found.zsl - head.zsl)
        assert found.harmonic is not None
        assert found.harmonic_gain == pytest.approx(found.harmonic - head.gzsl.harmonic)
        assert scored[10][f"validation/{name}/zsl"] == head.zsl
        assert scored[10][f"validation/{name}/harmonic"] == pytest.approx(head.gzsl.best_harmonic)
    assert set(results.optimism) == {"proto", "main"}


def test_a_line_that_a_kill_cut_off_is_passed_over(made: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text((made / "metrics.jsonl").read_text() + '{"step": 11, "validation/pro')
    results = Results.read(made / RESULTS)
    assert optimism(tmp_path / "metrics.jsonl", results.heads) == results.optimism


def test_the_table_says_so(made: Path) -> None:
    text = (made / "results.md").read_text()
    results = Results.read(made / RESULTS)
    assert text.startswith("**Paper protocol: test on small: 6 seen, 3 unseen classes")
    assert results.optimism is not None
    found = results.optimism["proto"]
    assert f"| proto, chosen on test | {100 * found.zsl:.1f} | - | - |" in text
    assert f"Choosing on test, as published, gains proto {100 * found.zsl_gain:.1f} points of ZSL (step {found.zsl_step})" in text


def test_a_table_of_exemplars_is_titled_not_zero_shot(made: Path) -> None:
    shown = summary(Results.read(made / RESULTS).model_copy(update={"protocol": "exemplars"}))
    assert shown.title.startswith("NOT ZERO-SHOT, exemplars of unseen classes: test on small")


def test_tables_of_several_runs_say_by_which_protocol_and_if_it_is_not_zero_shot(made: Path) -> None:
    results = Results.read(made / RESULTS)
    exemplars = results.model_copy(update={"protocol": "exemplars"})
    row = Variant("as configured", ())
    assert " Protocol: paper." in table([(row, [results])]).note
    assert "Protocol: exemplars. NOT ZERO-SHOT: rows of unseen classes were made from" in table([(row, [exemplars])]).note


def test_a_run_that_did_not_score_its_test_classes_has_nothing_to_choose_among(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl holds no scores of the test classes"):
        optimism(tmp_path / "metrics.jsonl", Results.read(made / RESULTS).heads)


def test_confidence_stands_under_the_figures(made: Path) -> None:
    results = Results.read(made / RESULTS)
    rows = confidence(results).rows
    assert [row[0] for row in rows[:2]] == ["proto, images", "proto, classes"]
    assert len(rows) == 2 * len(results.heads)
    found = results.heads["proto"].over_images
    assert found is not None
    assert rows[0][1] == f"{100 * found.zsl.low:.1f}\N{EN DASH}{100 * found.zsl.high:.1f}"
    assert confidence(results).markdown() in (made / "results.md").read_text()
