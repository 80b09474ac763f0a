"""Attribute tables from a CLIP model, against plain calls of transformers."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPModel
from typer.testing import CliRunner

from dsva.attributes.rows import RIDGES, finished, left_out_error, predicted
from dsva.attributes.vocabulary import read_vocabularies
from dsva.config import ValidationConfig
from dsva.config import load as load_config
from dsva.evaluation.results import Results
from dsva.pixels import STATISTICS
from dsva.protocol.attribute_table import AttributeTable, load
from dsva.protocol.class_splits import find_split
from dsva.protocol.image_sets import image_sets
from dsva.train.run import run
from launch.cli.main import app
from shards.errors import UserError
from shards.index import ShardSet
from shards.loader import Reader
from shards.pack import pack
from shards.sources import open_source
from tests.helpers.drawn import draw
from tests.helpers.small_runs import SIZES, small_config, small_set
from tests.helpers.tiny_clip import tiny_clip

OVERHEAD = Path(__file__).parents[2] / "configs" / "attributes" / "overhead.yaml"
CLASSES = ("Airport", "BareLand", "Beach", "Bridge", "Desert", "Forest", "Park", "Pond")
SPLIT = "random:1:2"
PER_CLASS = 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes at 32 x 32 pixels, which the tiny CLIP takes as they are."""
    folder = tmp_path_factory.mktemp("eight")
    source = open_source(draw(folder / "images", PER_CLASS, CLASSES))
    pack(source, folder / "set", workers=1, resize=32)
    return folder / "set"


def build(clip: Path, classes: Path, out: Path, *options: str, split: str | None = SPLIT) -> AttributeTable:
    arguments = ["attributes", "build", "--clip", f"{clip}", "--vocabulary", f"{OVERHEAD}", "--classes", f"{classes}"]
    chosen = ["--split", split] if split else []
    CliRunner().invoke(app, [*arguments, *chosen, "--out", f"{out}", *options], catch_exceptions=False)
    return load(out)


def plain_texts(clip: Path, phrases: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """A phrase and a template at a time, with nothing of this project."""
    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), AutoTokenizer.from_pretrained(clip)
    rows = []
    for phrase in phrases:
        prompts = [tokenizer(template.replace("{}", phrase), return_tensors="pt") for template in templates]
        with torch.no_grad():
            mean = torch.stack([F.normalize(model.get_text_features(**each).pooler_output[0], dim=0) for each in prompts]).mean(0)
        rows.append(F.normalize(mean, dim=0))
    return torch.stack(rows).double().numpy()


def plain_images(clip: Path, data: ShardSet, ids: Iterable[int]) -> np.ndarray:
    model = CLIPModel.from_pretrained(clip).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS["clip"])
    rows = []
    with Reader(data) as reader:
        for sample in ids:
            pixels = np.empty((32, 32, 3), np.uint8)
            reader.decode(int(sample), pixels)
            values = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std
            with torch.no_grad():
                rows.append(F.normalize(model.get_image_features(pixel_values=values[None]).pooler_output[0], dim=0))
    return torch.stack(rows).double().numpy()


def words_of(name: str) -> str:
    return {"BareLand": "bare land"}.get(name, name.lower())


def test_our_vocabulary_has_about_a_hundred_attributes_in_the_papers_groups() -> None:
    vocabulary = read_vocabularies([OVERHEAD])
    assert tuple(vocabulary.groups) == ("functions", "materials", "surface_properties")
    assert len(vocabulary.names) == 108


def test_text_rows_are_cosines_of_averaged_prompts(clip: Path, shards: Path, tmp_path: Path) -> None:
    table = build(clip, shards, tmp_path / "a.json", "--rows", "raw", split=None)
    vocabulary = read_vocabularies([OVERHEAD])
    assert table.classes == CLASSES
    texts = plain_texts(clip, [words_of(name) for name in CLASSES], vocabulary.class_templates)
    attributes = plain_texts(clip, vocabulary.names, vocabulary.attribute_templates)
    np.testing.assert_allclose(table.matrix, texts @ attributes.T, atol=2e-6)
    assert table.provenance is not None
    assert (table.provenance.mode, table.provenance.images, table.provenance.data_digest) == ("text", {}, "")
    assert table.provenance.described["BareLand"] == "bare land"


def test_the_same_build_writes_the_same_bytes_and_other_weights_another_hash(clip: Path, shards: Path, tmp_path: Path) -> None:
    first = build(clip, shards, tmp_path / "a.json")
    again = build(clip, shards, tmp_path / "b.json")
    other = build(tiny_clip(tmp_path / "other", seed=1), shards, tmp_path / "c.json")
    assert first.sha256 == again.sha256
    assert first.provenance
    assert other.provenance
    assert first.provenance.clip_sha256 != other.provenance.clip_sha256


def test_descriptions_stand_for_class_names(clip: Path, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("Pond: a small lake with reeds\nKiosk:\n")
    table = build(clip, tmp_path / "classes.yaml", tmp_path / "a.json", "--rows", "raw", split=None)
    vocabulary = read_vocabularies([OVERHEAD])
    texts = plain_texts(clip, ["a small lake with reeds", "kiosk"], vocabulary.class_templates)
    np.testing.assert_allclose(
        table.matrix, texts @ plain_texts(clip, vocabulary.names, vocabulary.attribute_templates).T, atol=2e-6
    )


def test_standardised_rows_know_the_seen_classes_only(clip: Path, shards: Path, tmp_path: Path) -> None:
    raw, table = (build(clip, shards, tmp_path / f"{rows}.json", "--rows", rows) for rows in ("raw", "standardised"))
    seen = slice(len(CLASSES) - 2)
    np.testing.assert_allclose(table.matrix[seen].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(table.matrix[seen].std(0), 1, atol=1e-5)
    mean, deviation = raw.matrix[seen].astype(float).mean(0), raw.matrix[seen].astype(float).std(0)
    np.testing.assert_allclose(table.matrix, (raw.matrix - mean) / deviation, rtol=1e-3, atol=1e-3)
    assert table.provenance is not None
    assert table.provenance.statistics == table.provenance.seen == table.classes[seen]
    assert table.provenance.unseen == table.classes[-2:]
    unit = build(clip, shards, tmp_path / "l2.json", "--rows", "l2").matrix
    np.testing.assert_allclose(unit, raw.matrix / np.linalg.norm(raw.matrix, axis=1, keepdims=True), atol=1e-6)


@pytest.fixture(scope="module")
def looked(clip: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> AttributeTable:
    return build(clip, shards, tmp_path_factory.mktemp("looked") / "a.json", "--mode", "seen-images", "--rows", "raw")


@pytest.mark.parametrize("partition", [None, 0])
def test_seen_images_rows_come_from_training_images_and_text(
    clip: Path, shards: Path, looked: AttributeTable, partition: int | None
) -> None:
    data = ShardSet.open(shards)
    sets = image_sets(data, find_split(data, None, SPLIT), 0.2, ValidationConfig.model_validate({"partition": partition}))
    table = looked.part(partition)
    assert table.provenance is not None
    assert table.classes == sets.classes
    assert sorted(table.provenance.samples(sets.seen)) == sorted(sets.train)
    assert set(table.provenance.images) == set(sets.seen)
    assert table.provenance.data_digest == data.digest
    vocabulary = read_vocabularies([OVERHEAD])
    attributes = plain_texts(clip, vocabulary.names, vocabulary.attribute_templates)
    seen = np.stack([(plain_images(clip, data, table.provenance.samples([name])) @ attributes.T).mean(0) for name in sets.seen])
    np.testing.assert_allclose(table.matrix[: sets.n_seen], seen, atol=2e-6)
    texts = plain_texts(clip, [words_of(name) for name in sets.classes], vocabulary.class_templates)
    expected = predicted(texts[: sets.n_seen], seen, texts[sets.n_seen :])
    np.testing.assert_allclose(table.matrix[sets.n_seen :], expected, atol=2e-5)


def test_one_file_holds_the_rows_of_the_validation_runs_and_is_the_same_after_reading(
    looked: AttributeTable, tmp_path: Path
) -> None:
    assert len(looked.validation) == 3
    held = [table.provenance.unseen for table in looked.validation if table.provenance]
    assert sorted(sum(held, ())) == sorted(set(CLASSES) - set(looked.provenance.unseen if looked.provenance else ()))
    assert {table.sha256 for table in looked.validation} == {looked.sha256}
    looked.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == looked.path.read_bytes()


def test_final_and_validation_runs_take_one_table_and_gamma_passes_between_them(clip: Path, shards: Path, tmp_path: Path) -> None:
    table = build(clip, shards, tmp_path / "a.json", "--mode", "seen-images").path
    (tmp_path / "c.yaml").write_text("")
    given = [f"classes.attributes={table}", f"data.shards={shards}", f"classes.split={SPLIT}", *SIZES]
    validation = load_config(tmp_path / "c.yaml", [*given, "validation.partition=1", f"run.dir={tmp_path / 'v'}"])
    assert run(validation) == 0
    final = load_config(tmp_path / "c.yaml", [*given, f"eval.validation_run={tmp_path / 'v'}", f"run.dir={tmp_path / 'f'}"])
    assert run(final) == 0
    results = Results.read(tmp_path / "f" / "results.json")
    assert results.warnings == ()
    assert results.heads["proto"].gzsl is not None
    assert results.heads["proto"].gzsl.gamma_source == f"validation run {tmp_path / 'v'}"
    damaged = json.loads(table.read_text()) | {"validation": [{}]}
    table.write_text(json.dumps(damaged))
    with pytest.raises(UserError, match=r"there is no 'validation.0.classes', .*: correct the file, or build the table again"):
        load(table)


def test_sentence_embeddings_are_rows_like_any_other(clip: Path, tmp_path: Path) -> None:
    small_set(tmp_path)
    (tmp_path / "classes.yaml").write_text("Pond: a small lake with reeds\n")
    options = ["--split", "small", "--out", f"{tmp_path / 's.json'}", "--mode", "sentences", "--rows", "raw"]
    arguments = ["attributes", "build", "--clip", f"{clip}", "--classes", f"{tmp_path / 'splits.json'}", *options]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    table = load(tmp_path / "s.json")
    assert list(table.groups) == ["sentence embedding"]
    np.testing.assert_allclose(table.rows(["Port"])[0], plain_texts(clip, ["port"], ["{}"])[0], atol=2e-6)
    assert run(small_config(tmp_path, [f"classes.attributes={table.path}"])) == 0
    results = Results.read(tmp_path / "run" / "results.json")
    assert (results.warnings, results.provenance.attributes_meaning) == ((), "embedding of the class prompts (raw rows)")


def test_exemplars_are_some_images_of_each_unseen_class(clip: Path, shards: Path, tmp_path: Path) -> None:
    table = build(clip, shards, tmp_path / "a.json", "--mode", "exemplars", "--exemplars", "3", "--rows", "raw")
    data, vocabulary = ShardSet.open(shards), read_vocabularies([OVERHEAD])
    assert table.provenance is not None
    for name in table.provenance.unseen:
        ids = table.provenance.samples([name])
        assert len(ids) == 3
        assert all(data.key(int(sample)).startswith(f"{name}/") for sample in ids)
        attributes = plain_texts(clip, vocabulary.names, vocabulary.attribute_templates)
        np.testing.assert_allclose(table.rows([name])[0], (plain_images(clip, data, ids) @ attributes.T).mean(0), atol=2e-6)


def test_exemplars_are_refused_by_training_unless_every_table_says_so(clip: Path, tmp_path: Path) -> None:
    small_set(tmp_path)
    table = tmp_path / "exemplars.json"
    vocabulary = [
        "--clip",
        f"{clip}",
        "--vocabulary",
        f"{OVERHEAD}",
        "--classes",
        f"{tmp_path / 'splits.json'}",
        "--split",
        "small",
    ]
    options = ["--shards", f"{tmp_path / 'shards'}", "--mode", "exemplars", "--exemplars", "2", "--out", f"{table}"]
    CliRunner().invoke(app, ["attributes", "build", *vocabulary, *options], catch_exceptions=False)
    with pytest.raises(UserError, match="was made from 2 images of it, which is not zero-shot"):
        run(small_config(tmp_path, [f"classes.attributes={table}"]))
    assert not (tmp_path / "run").exists()
    marked = small_config(tmp_path, [f"classes.attributes={table}", "eval.protocol=exemplars"])
    assert run(marked) == 0
    text = (tmp_path / "run" / "results.md").read_text()
    assert text.startswith("**NOT ZERO-SHOT, exemplars of unseen classes: test on small")
    results = Results.read(tmp_path / "run" / "results.json")
    assert (results.protocol, results.images["unseen_test"]) == ("exemplars", 3 * (10 - 2))


def test_a_text_table_trains_without_a_word(clip: Path, tmp_path: Path) -> None:
    small_set(tmp_path)
    table = build(clip, tmp_path / "splits.json", tmp_path / "text.json", split="small")
    assert run(small_config(tmp_path, [f"classes.attributes={table.path}"])) == 0
    results = Results.read(tmp_path / "run" / "results.json")
    assert (results.protocol, results.warnings) == ("honest", ())
    assert results.provenance.attributes_meaning == "cosine of the class prompts and the attribute prompts (standardised rows)"


@given(seed=st.integers(0, 1000), ridge=st.sampled_from(RIDGES))
def test_left_out_error_is_that_of_refitting_without_each_class(seed: int, ridge: float) -> None:
    random = np.random.default_rng(seed)
    texts, rows = random.standard_normal((6, 9)), random.standard_normal((6, 4))
    centred, targets = texts - texts.mean(0), rows - rows.mean(0)
    errors = []
    for left in range(6):
        kept = np.delete(np.arange(6), left)
        # Ridge with an unpenalised mean, as ordinary least squares with extra rows.
        design = np.hstack([centred[kept], np.ones((5, 1))])
        extra = np.hstack([np.sqrt(ridge) * np.eye(9), np.zeros((9, 1))])
        weights = np.linalg.lstsq(np.vstack([design, extra]), np.vstack([targets[kept], np.zeros((9, 4))]), rcond=None)[0]
        errors.append((targets[left] - np.append(centred[left], 1) @ weights) ** 2)
    assert left_out_error(centred @ centred.T, targets, ridge) == pytest.approx(np.mean(errors), rel=1e-4)


def test_rows_that_follow_from_text_are_predicted() -> None:
    random = np.random.default_rng(0)
    texts, weights = random.standard_normal((40, 5)), random.standard_normal((5, 3))
    rows = texts @ weights + 2
    np.testing.assert_allclose(predicted(texts[:30], rows[:30], texts[30:]), rows[30:], atol=1e-2)


def test_an_attribute_alike_in_all_seen_classes_counts_for_nothing() -> None:
    rows = np.array([[1.0, 5], [3, 5], [9, 6]])
    assert finished(rows, "standardised", slice(2)).tolist() == [[-1, 0], [1, 0], [7, 0]]


@pytest.mark.parametrize(
    ("options", "split", "sentence"),
    [
        ((), None, "--rows=standardised takes mean and deviation over the seen classes: give --split"),
        (("--mode", "seen-images", "--rows", "raw"), None, "--mode=seen-images looks at images of the seen classes"),
        (("--mode", "exemplars", "--exemplars", "10"), SPLIT, "--exemplars=10 leaves no test image of"),
        (("--out", "a.txt"), SPLIT, "a.txt does not end in .json"),
        (("--out", "nowhere/a.json"), SPLIT, "there is no folder nowhere"),
        (("--clip", "nowhere"), SPLIT, "nowhere is no CLIP with safetensors weights and a tokenizer"),
    ],
)
def test_impossible_builds_are_refused(
    clip: Path, shards: Path, tmp_path: Path, options: tuple[str, ...], split: str | None, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        build(clip, shards, tmp_path / "a.json", *options, split=split)


def test_weights_that_are_pickles_are_not_loaded(clip: Path, shards: Path, tmp_path: Path) -> None:
    folder = tiny_clip(tmp_path / "clip")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="is no CLIP with safetensors weights"):
        build(folder, shards, tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "cannot be read as YAML"),
        ("- a", "holds a list where"),
        ("groups: {a: [b]}", "there is no 'class_templates', which is needed: correct the file"),
        ("{class_templates: ['{}'], attribute_templates: ['a {b}'], groups: {a: [b]}}", r"the template 'a \{b\}' must hold one"),
        ("{class_templates: ['{}'], attribute_templates: ['{}'], groups: {a: [b], c: [b]}}", "'b' is in groups 'a' and 'c'"),
        ("{class_templates: ['{}'], attribute_templates: ['{}'], groups: []}", "groups=.*: Input should be a valid dictionary"),
        ("{templates: [], groups: {}}", "there is no key 'templates'; did you mean 'class_templates'"),
        (
            "{class_templates: ['{}'], attribute_templates: ['{}'], groups: {a: !!binary aGk=}}",
            "groups.a=b'hi': Input should be a valid list",
        ),
    ],
)
def test_wrong_vocabularies_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "v.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_vocabularies([tmp_path / "v.yaml"])


def test_vocabularies_are_joined(tmp_path: Path) -> None:
    text = "{class_templates: ['a {}', '{}'], attribute_templates: ['{}'], groups: {%s: [%s]}}"
    (tmp_path / "a.yaml").write_text(text % ("one", "x, y"))
    (tmp_path / "b.yaml").write_text(text % ("two", "z"))
    joined = read_vocabularies([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert (joined.names, joined.class_templates) == (("x", "y", "z"), ("a {}", "{}"))
    with pytest.raises(UserError, match="there is a group 'one' already"):
        read_vocabularies([tmp_path / "a.yaml"] * 2)


def test_misspelt_classes_of_a_description_are_refused(clip: Path, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("Ponds: a small lake\n")
    with pytest.raises(UserError, match="description is given for 'Ponds', which the split has not: did you mean 'Pond'"):
        build(clip, tmp_path / "classes.yaml", tmp_path / "a.json", "--shards", f"{shards}")
