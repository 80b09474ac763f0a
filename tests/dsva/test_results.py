import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from dsva.config import Config
from dsva.evaluation import plots as pictures
from dsva.evaluation.evaluate import report, told
from dsva.evaluation.gamma import CHOICE, NO_GAMMA, choose_gamma
from dsva.evaluation.metrics import Decisions, curve, decide
from dsva.evaluation.plots import draw_confusion, draw_curve
from dsva.evaluation.results import NO_WEIGHTS, Results, Weights, measure, provenance
from dsva.evaluation.tables import per_class, summary
from dsva.protocol.attribute_table import load
from dsva.protocol.class_splits import load_split
from dsva.protocol.experiment import Experiment
from dsva.protocol.image_sets import image_sets
from dsva.run_directory import RESULTS
from dsva.tables import Table
from shards.errors import UserError
from tests.helpers.shard_sets import shard_set

PICTURES = [f"confusion_{kind}_{head}.png" for kind in ("zsl", "gzsl") for head in ("proto", "main")] + ["seen_unseen.png"]
AID = Path(__file__).parents[2] / "configs" / "aid"


def experiment(**sections: dict[str, object]) -> Experiment:
    """AID's classes with ten nameless images each."""
    sections = {"classes": {}, **sections}
    sections["classes"] = {"split": "25_5"} | sections["classes"]
    config = Config.model_validate(sections)
    table, split = load(AID / "class_attributes.json"), load_split(AID / "class_splits.json", config.classes.split)
    images = [(f"{name}/{i}", f"{name}{i}".encode()) for name in table.classes for i in range(10)]
    data = shard_set(images)
    return Experiment(config, data, table, split, image_sets(data, split, config.classes.seen_test_share, config.validation))


def decisions(of: Experiment, seed: int = 0) -> Decisions:
    """Scores that know their class somewhat, and the seen classes better."""
    sets = of.sets
    labels = sets.labels[np.concatenate([sets.seen_test, sets.unseen_test])]
    scores = np.random.default_rng(seed).standard_normal((len(labels), len(sets.classes)))
    scores[:, : sets.n_seen] += 1
    scores[np.arange(len(labels)), labels] += 2
    return decide(scores, labels, sets.n_seen)


def results(of: Experiment, gamma: float = 0.5) -> Results:
    heads = {name: measure(decisions(of, seed), of.sets.classes, gamma, "given") for seed, name in enumerate(("proto", "main"))}
    return Results.of(of, heads, provenance(of, Weights(300, "ab" * 32, "cd" * 32), "cpu"))


def validation_run(folder: Path, **sections: dict[str, object]) -> Path:
    results(experiment(validation={"partition": 0, "seen_share": 0.25}, **sections)).write(folder / RESULTS)
    return folder


def test_results_survive_the_file(tmp_path: Path) -> None:
    made = results(experiment())
    made.write(tmp_path / RESULTS)
    assert Results.read(tmp_path / RESULTS) == made
    assert [file.name for file in tmp_path.iterdir()] == [RESULTS]
    assert made.protocol == "honest"
    assert made.images == {"train": 25 * 8, "seen_test": 25 * 2, "unseen_test": 5 * 10}
    assert made.chance["zsl"] == 0.2
    assert made.provenance.attributes_meaning.startswith("matrix[c][a]")


def test_figures_of_a_head_are_those_of_its_counts_and_curve() -> None:
    of = experiment()
    decided = decisions(of)
    head = measure(decided, of.sets.classes, 0.5, "given")
    assert head.gzsl is not None
    assert (head.gzsl.seen, head.gzsl.unseen) == pytest.approx(curve(decided).at(0.5))
    assert head.gzsl.ausuc == curve(decided).ausuc()
    assert (head.gzsl.best_gamma, head.gzsl.best_harmonic) == curve(decided).best()
    assert [count.name for count in head.gzsl.classes] == list(of.sets.classes)
    assert [count.name for count in head.zsl_classes] == list(of.sets.unseen)
    assert head.zsl == pytest.approx(np.mean([count.correct / count.total for count in head.zsl_classes]))


def test_without_seen_test_images_there_is_no_gzsl() -> None:
    of = experiment(classes={"seen_test_share": 0})
    made = results(of)
    assert made.heads["proto"].gzsl is None
    assert summary(made).rows[0][2:] == ["-"] * 5
    assert summary(made).note.endswith("no GZSL.")


def test_gamma_is_given_or_zero_or_the_validation_runs(tmp_path: Path) -> None:
    honest = experiment(eval={"gamma": 0.7, "validation_run": tmp_path})
    run = provenance(honest, NO_WEIGHTS, "cpu")
    assert choose_gamma(honest.config.eval, "proto", run) == (0.7, "given")
    assert choose_gamma(Config().eval, "proto", run) == (0.0, NO_GAMMA)
    path = validation_run(tmp_path)
    best = Results.read(path / RESULTS).heads["main"].gzsl
    assert best is not None
    chosen = choose_gamma(experiment(eval={"validation_run": path}).config.eval, "main", run)
    assert chosen == (best.best_gamma, f"validation run {path}")
    with pytest.raises(UserError, match="has no GZSL figures of the head 'text'"):
        choose_gamma(experiment(eval={"validation_run": path}).config.eval, "text", run)


def test_gamma_of_several_validation_runs_is_their_mean(tmp_path: Path) -> None:
    for name, gamma in (("a", 0.5), ("b", 2.0)):
        (tmp_path / name).mkdir()
        path = validation_run(tmp_path / name) / RESULTS
        made = Results.read(path)
        head = made.heads["main"]
        assert head.gzsl is not None
        chosen = head.model_copy(update={"gzsl": head.gzsl.model_copy(update={"best_gamma": gamma})})
        made.model_copy(update={"heads": {**made.heads, "main": chosen}}).write(path)
    (tmp_path / CHOICE).write_text('{"runs": ["a", "b"]}')
    ours = experiment(eval={"validation_run": tmp_path})
    gamma, source = choose_gamma(ours.config.eval, "main", provenance(ours, NO_WEIGHTS, "cpu"))
    assert (gamma, source) == (1.25, f"mean of 2 validation runs in {tmp_path}")


@pytest.mark.parametrize(
    ("sections", "difference"),
    [
        ({"classes": {"split": "20_10"}}, "differs from this run in classes.split: 20_10, here 25_5"),
        ({"classes": {"seen_test_share": 0.1}}, "classes.seen_test_share: 0.1, here 0.2"),
        ({"scores": {"temperature": 1}}, "the scores: .*temperature=1.0"),
    ],
)
def test_gamma_of_a_run_that_is_another_experiment_is_refused(
    tmp_path: Path, sections: dict[str, dict[str, object]], difference: str
) -> None:
    path = validation_run(tmp_path, **sections)
    ours = experiment(eval={"validation_run": path})
    with pytest.raises(UserError, match=difference):
        choose_gamma(ours.config.eval, "proto", provenance(ours, NO_WEIGHTS, "cpu"))


def test_gamma_chosen_on_test_images_is_refused(tmp_path: Path) -> None:
    ours = experiment(eval={"validation_run": tmp_path})
    with pytest.raises(UserError, match=r"results\.json is not there: let the training"):
        choose_gamma(ours.config.eval, "proto", provenance(ours, NO_WEIGHTS, "cpu"))
    results(experiment()).write(tmp_path / RESULTS)
    with pytest.raises(UserError, match="its gamma was chosen on test images"):
        choose_gamma(ours.config.eval, "proto", provenance(ours, NO_WEIGHTS, "cpu"))


def test_other_files_are_not_results(tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text('{"format": 2}')
    with pytest.raises(UserError, match=r"results\.json: format=2: Input should be 1: evaluate the run again$"):
        Results.read(tmp_path / RESULTS)


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("provenance", {"config": {}}, "provenance.config: no model.backbone"),
        ("provenance", {"config": {"model": 5}}, "provenance.config: no model.backbone"),
        ("", {"seen": ["a\nb"]}, "has a control character"),
    ],
)
def test_damaged_results_are_a_sentence(tmp_path: Path, section: str, changes: dict[str, object], said: str) -> None:
    file = tmp_path / "results.json"
    results(experiment()).write(file)
    value = json.loads(file.read_text())
    (value[section] if section else value).update(changes)
    file.write_text(json.dumps(value))
    with pytest.raises(UserError, match=said):
        Results.read(file)


def test_tables_show_heads_beside_chance() -> None:
    made = results(experiment(), gamma=0.5)
    head = made.heads["proto"]
    assert head.gzsl is not None
    text = summary(made).markdown()
    figures = (head.zsl, head.gzsl.seen, head.gzsl.unseen, head.gzsl.harmonic, head.gzsl.ausuc)
    assert "| proto | " + " | ".join(f"{100 * figure:.1f}" for figure in figures) + " | 0.5 |" in text
    assert "| chance | 20.0 | 3.3 | 3.3 | 3.3 | 0.4 |  |" in text
    assert text.startswith("**Test on 25_5: 25 seen, 5 unseen classes, step 300**")
    rows = per_class(made).rows
    assert [row[:3] for row in rows] == [[n, "unseen", "10"] for n in made.unseen] + [[n, "seen", "2"] for n in made.seen]
    assert rows[0][3] == f"{100 * head.zsl_classes[0].correct / 10:.1f}"
    assert rows[5][3] == ""


def test_names_are_text_and_not_markup() -> None:
    table = Table("t", ("a|b", "c"), [("[red]x", "1")])
    assert "a\\|b" in table.markdown()
    screen = StringIO()
    Console(file=screen, width=80).print(table.rich())
    assert "[red]x" in screen.getvalue()


def reported(of: Experiment) -> Results:
    """Results that were written into the run's folder."""
    seen = {"proto": decisions(of), "main": decisions(of, 1)}
    return report(of, seen, provenance(of, Weights(300, "ab" * 32, "cd" * 32), "cpu"))


def test_a_report_has_all_its_pictures(tmp_path: Path, said: StringIO) -> None:
    of = experiment(run={"dir": tmp_path})
    reported(of)
    assert "could not be drawn" not in said.getvalue()
    assert sorted(file.name for file in tmp_path.glob("*.png")) == sorted(PICTURES)


def test_a_picture_that_fails_costs_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: StringIO) -> None:
    def fail(path: Path, **_: object) -> None:
        assert Results.read(path.parent / RESULTS), "the figures are written before"
        raise ValueError("no such [sign]")

    of = experiment(run={"dir": tmp_path})
    before = reported(of)
    monkeypatch.setattr(pictures, "draw_confusion", fail)
    after = reported(of)
    assert Results.read(tmp_path / RESULTS).heads == after.heads == before.heads
    for name in PICTURES[:4]:  # those that show other figures are gone
        assert f"{tmp_path / name} could not be drawn (ValueError: no such [sign]): the figures are whole" in said.getvalue()
        assert not (tmp_path / name).exists()
    assert (tmp_path / PICTURES[4]).is_file()
    assert [str(answer) for answer in told(tmp_path)][-1].startswith(f"written: {tmp_path}")


def test_pictures_are_png_and_the_same_each_time(tmp_path: Path) -> None:
    of = experiment()
    decided = decisions(of)
    for name in ("a", "b"):
        draw_confusion(tmp_path / f"{name}_confusion.png", decided.gzsl(0.5)[18:, 18:], of.sets.classes[18:], 7, "GZSL")
        draw_curve(tmp_path / f"{name}_curve.png", {"proto": (curve(decided), 0.5)}, "25_5")
    for picture in ("confusion", "curve"):
        assert (tmp_path / f"a_{picture}.png").read_bytes() == (tmp_path / f"b_{picture}.png").read_bytes()
        with Image.open(tmp_path / f"a_{picture}.png") as image:
            assert len(set(image.convert("RGB").get_flattened_data())) > 20
