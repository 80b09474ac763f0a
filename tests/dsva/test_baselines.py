"""Baselines against their definitions, and beside the heads in every result."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionModel

from dsva.evaluation.baselines import linear, standardised
from dsva.evaluation.decisions_file import DecisionsFile
from dsva.evaluation.linear_baselines import GRID, METHODS, Gram, eszsl, fitted, ridge, ridge_scores
from dsva.evaluation.results import Results, measure
from dsva.evaluation.tables import summary
from dsva.model.prompts import PROMPTS, TEMPLATES, TextTower, words
from dsva.protocol.experiment import Experiment
from dsva.run_directory import DECISIONS, RESULTS
from dsva.train.run import run
from shards.errors import UserError
from tests.helpers.small_runs import SEEN, UNSEEN, small_config, small_run


def problem(seed: int, n_classes: int = 7, dims: int = 6, attributes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that are linear in the attributes of their class, with noise."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n_classes, attributes))
    labels = np.repeat(np.arange(n_classes), 5)
    features = rows[labels] @ random.standard_normal((attributes, dims)) + 0.05 * random.standard_normal((len(labels), dims))
    return features, labels, rows


@given(seed=st.integers(0, 1000), strength=st.sampled_from(GRID))
@settings(max_examples=30)
def test_ridge_is_the_minimum_of_its_loss(seed: int, strength: float) -> None:
    features, labels, rows = problem(seed)
    weights = ridge(Gram.of(features, labels, len(rows)), rows, strength)
    gradient = features.T @ (features @ weights - rows[labels]) + strength * len(labels) * weights
    assert np.abs(gradient).max() < 1e-8


@given(seed=st.integers(0, 1000), strength=st.sampled_from(GRID), row_strength=st.sampled_from(GRID))
@settings(max_examples=30)
def test_eszsl_is_the_minimum_of_its_loss(seed: int, strength: float, row_strength: float) -> None:
    """|X V S' - Y|^2 + a |V S'|^2 + b |X V|^2 + a b |V|^2, equation 4 of the paper, has no slope there."""
    features, labels, rows = problem(seed)
    weights = eszsl(Gram.of(features, labels, len(rows)), rows, strength, row_strength)
    signs = np.where(labels[:, None] == np.arange(len(rows)), 1.0, -1.0)
    a, b = strength * len(labels), row_strength
    slope = features.T @ (features @ weights @ rows.T - signs) @ rows
    slope += a * weights @ rows.T @ rows + b * features.T @ features @ weights + a * b * weights
    assert np.abs(slope).max() < 1e-7


@pytest.mark.parametrize("method", ["ridge", "eszsl"])
def test_linear_maps_recognise_classes_they_were_not_fitted_to(method: str) -> None:
    features, labels, rows = problem(3, n_classes=20)
    new = labels >= 15
    weights, chosen = fitted(method, features[~new], labels[~new], rows[:15])
    assert set(chosen) <= set(GRID)
    predicted = METHODS[method][1](features[new], weights, rows[15:]).argmax(1) + 15
    assert np.mean(predicted == labels[new]) > 0.8


def test_strengths_are_chosen_by_held_out_training_classes() -> None:
    """Where a few directions of noise drown the signal, no class that is fitted to tells, but a held-out one does."""
    features, labels, rows = problem(5, n_classes=12)
    random = np.random.default_rng(0)
    noisy = np.concatenate([features, 30 * random.standard_normal((len(labels), 40))], axis=1)
    _, (strength,) = fitted("ridge", standardised(noisy, noisy)[0], labels, rows)
    accuracies = []
    for candidate in GRID:
        rights = []
        for fold in range(3):
            classes = np.arange(fold, 12, 3)
            held = np.isin(labels, classes)
            kept = np.setdiff1d(np.arange(12), classes)
            x = standardised(noisy, noisy)[0]
            places = np.searchsorted(kept, labels[~held])
            weights = ridge(Gram.of(x[~held], places, len(kept)), rows[kept], candidate)
            rights.append(np.mean(classes[ridge_scores(x[held], weights, rows[classes]).argmax(1)] == labels[held]))
        accuracies.append(np.mean(rights))
    assert strength == GRID[int(np.round(accuracies, 9).argmax())]


def test_rows_and_images_of_unseen_classes_do_not_change_what_is_fitted(run_dir: Path) -> None:
    experiment = Experiment.open(small_config(run_dir.parent))
    sets, random = experiment.sets, np.random.default_rng(1)
    train = random.standard_normal((len(sets.train), 5))
    test_ids = np.concatenate([sets.seen_test, sets.unseen_test])
    test = random.standard_normal((len(test_ids), 5))
    labels = sets.labels[sets.train], sets.labels[test_ids]
    changed = experiment.table.matrix.copy()
    changed[[experiment.table.classes.index(name) for name in sets.unseen]] += 1
    other = Experiment.open(small_config(run_dir.parent))
    object.__setattr__(other.table, "matrix", changed)
    before, after = linear(experiment, train, test, *labels), linear(other, train, test, *labels)
    for method in ("ridge", "eszsl"):
        assert np.array_equal(before[method].seen, after[method].seen)
        assert not np.array_equal(before[method].breaks, after[method].breaks)


def test_results_hold_baselines_and_follow_from_the_decisions_kept(run_dir: Path) -> None:
    results = Results.read(run_dir / RESULTS)
    assert list(results.heads) == ["proto", "main", "ridge", "eszsl"]
    kept = DecisionsFile.read(run_dir / DECISIONS, results)
    for source, head in results.heads.items():
        again = measure(kept.decisions[source], (*SEEN, *UNSEEN), 0.0, "zero: no validation run was given")
        assert again == head.model_copy(update={"over_images": None, "over_classes": None})
    assert [row[0] for row in summary(results).rows] == ["proto", "main", "ridge", "eszsl", "chance"]
    assert "the run's own trained backbone" in summary(results).note


def test_decisions_of_another_checkpoint_are_refused(run_dir: Path, tmp_path: Path) -> None:
    results = Results.read(run_dir / RESULTS)
    other = results.provenance.model_copy(update={"checkpoint_sha256": "0" * 64})
    with pytest.raises(UserError, match=r"is of another checkpoint than results\.json"):
        DecisionsFile.read(run_dir / DECISIONS, results.model_copy(update={"provenance": other}))
    more = {**results.heads, "text prompts": results.heads["proto"]}
    with pytest.raises(UserError, match=r"has no decisions by text prompts: score the run again"):
        DecisionsFile.read(run_dir / DECISIONS, results.model_copy(update={"heads": more}))
    (tmp_path / DECISIONS).write_bytes((run_dir / DECISIONS).read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot be read .*: score the run again with `dsva eval`"):
        DecisionsFile.read(tmp_path / DECISIONS, results)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP with random weights and a tokenizer of single letters, as a local folder."""
    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={token: place for place, token in enumerate(tokens)}, merges=[], model_max_length=77).save_pretrained(
        folder
    )
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(tokens), "eos_token_id": len(tokens) - 1, "bos_token_id": len(tokens) - 2}
    vision = {**sizes, "image_size": 48, "patch_size": 12}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    return folder


def test_text_prompts_are_clips_own_scores(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = TextTower.of(str(clip), torch.device("cpu"))
    assert tower is not None
    pixels = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    single = []
    for template in TEMPLATES:
        tokens = tower.tokenizer([template.format(name) for name in ("bare land", "pond")], padding=True, return_tensors="pt")
        with torch.no_grad():
            theirs = tower.model(pixel_values=pixels, **tokens)
        monkeypatch.setattr("dsva.model.prompts.TEMPLATES", (template,))
        ours = tower.images(pixels).double().numpy() @ tower.classes(("BareLand", "Pond")).T
        np.testing.assert_allclose(ours, theirs.logits_per_image.numpy(), rtol=1e-4, atol=1e-5)
        single.append(theirs.text_embeds)
    monkeypatch.setattr("dsva.model.prompts.TEMPLATES", TEMPLATES)
    mean = torch.nn.functional.normalize(torch.stack(single).mean(0), dim=1)
    wanted = mean.numpy() * float(tower.model.logit_scale.exp().detach())
    np.testing.assert_allclose(tower.classes(("BareLand", "Pond")), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [("DenseResidential", "dense residential"), ("bare_land", "bare land"), ("Port", "port"), ("storage-tanks", "storage tanks")],
)
def test_class_names_become_words(name: str, said: str) -> None:
    assert words(name) == said


def test_a_run_on_clip_has_text_prompts_and_features_from_before_training(clip: Path, tmp_path: Path) -> None:
    run_dir = small_run(tmp_path, [f"model.backbone={clip}", "train.steps=1"])
    results = Results.read(run_dir / RESULTS)
    assert list(results.heads) == ["proto", "main", "ridge", "eszsl", PROMPTS]
    assert f"{clip} before training" in summary(results).note
    longer = small_config(tmp_path, [f"model.backbone={clip}", "train.steps=2", f"run.dir={tmp_path / 'longer'}"])
    run(longer)
    again = Results.read(tmp_path / "longer" / RESULTS)
    assert [again.heads[name] for name in ("ridge", "eszsl", PROMPTS)] == [
        results.heads[name] for name in ("ridge", "eszsl", PROMPTS)
    ]


def test_a_vision_model_by_itself_has_no_text_prompts(clip: Path, tmp_path: Path) -> None:
    CLIPVisionModel.from_pretrained(clip).save_pretrained(tmp_path)
    assert TextTower.of(str(tmp_path), torch.device("cpu")) is None
    CLIPTokenizer.from_pretrained(clip).save_pretrained(tmp_path)
    assert TextTower.of(str(tmp_path), torch.device("cpu")) is None
