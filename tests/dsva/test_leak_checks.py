"""Attribute tables that know too much are refused, before a step is taken."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsva.config import Config
from dsva.config import load as load_config
from dsva.protocol.attribute_table import AttributeTable, load
from dsva.protocol.class_splits import Split, find_split
from dsva.protocol.image_sets import ImageSets, image_sets
from dsva.protocol.leak_checks import check_table
from dsva.protocol.table_provenance import gaps
from shards.errors import UserError
from tests.helpers.shard_sets import shard_set

NAMES = ("Airport", "Bare_Land", "Beach", "Bridge", "Desert", "Forest", "Park", "Pond")
DATA = shard_set([(f"{name}/{i}", f"{name}{i}".encode()) for name in NAMES for i in range(10)])
SPLIT = find_split(DATA, None, "random:1:2")
BASE: dict[str, Any] = {
    "mode": "text",
    "clip": "owner/model",
    "clip_sha256": "ab",
    "class_templates": ["{}"],
    "attribute_templates": ["{}"],
    "described": {},
    "data_digest": DATA.digest,
}


def sets_of(config: Config, split: Split = SPLIT) -> ImageSets:
    return image_sets(DATA, split, config.classes.seen_test_share, config.validation)


def table(tmp_path: Path, provenance: dict[str, Any] | None, matrix: np.ndarray | None = None) -> AttributeTable:
    values = np.random.default_rng(0).random((len(NAMES), 3)) if matrix is None else matrix
    value: dict[str, Any] = {"classes": NAMES, "groups": {"all": ["a", "b", "c"]}, "matrix": values.tolist(), "meaning": "told"}
    (tmp_path / "t.json").write_text(json.dumps(value | ({"provenance": BASE | provenance} if provenance is not None else {})))
    return load(tmp_path / "t.json")


def check(table: AttributeTable, split: Split = SPLIT, **sections: dict[str, Any]) -> ImageSets:
    config = Config.model_validate(sections)
    return check_table(table, split, DATA, sets_of(config, split), config.eval)


def keys(ids: np.ndarray) -> list[str]:
    return [DATA.key(int(i)) for i in ids]


def training_images(sets: ImageSets) -> dict[str, str]:
    return {name: gaps(sets.train[sets.labels[sets.train] == place]) for place, name in enumerate(sets.seen)}


def images_of(name: str, *numbers: int) -> str:
    return gaps(np.array([NAMES.index(name) * 10 + number for number in numbers]))


def test_tables_from_text_and_training_images_pass_without_a_word(tmp_path: Path) -> None:
    images = training_images(sets_of(Config()))
    for provenance in ({}, {"rows": "standardised", "statistics": SPLIT.seen}, {"mode": "seen-images", "images": images}):
        assert check(table(tmp_path, provenance)).warnings == ()


def test_rows_of_unseen_classes_from_their_images_are_refused(tmp_path: Path) -> None:
    name = SPLIT.unseen[0]
    sentence = f"the row of the unseen class '{name}' was made from 1 images of it, which is not zero-shot"
    with pytest.raises(UserError, match=sentence):
        check(table(tmp_path, {"mode": "exemplars", "images": {name: images_of(name, 0)}}))


def test_foreign_images_of_unseen_classes_are_refused_by_alias(tmp_path: Path) -> None:
    split = Split("a", NAMES[2:], NAMES[:2], "")
    foreign = {"mode": "seen-images", "images": {"bare land": "123456789"}, "data_digest": "elsewhere"}
    with pytest.raises(UserError, match="unseen class 'bare land' was made from 1 images of it"):
        check(table(tmp_path, foreign), split)


def test_images_of_another_shard_set_are_refused(tmp_path: Path) -> None:
    images = training_images(sets_of(Config()))
    with pytest.raises(UserError, match="was made from images of another shard set than SET"):
        check(table(tmp_path, {"mode": "seen-images", "images": images, "data_digest": "elsewhere"}))


def test_rows_made_from_test_images_of_seen_classes_are_refused(tmp_path: Path) -> None:
    images = training_images(sets_of(Config()))
    made = table(tmp_path, {"mode": "seen-images", "images": images})
    with pytest.raises(UserError, match=r"rows were made from 12 test images, such as .* build it with this run's --split"):
        check(made, classes={"seen_test_share": 0.4})


def test_a_validation_run_is_held_to_the_same(tmp_path: Path) -> None:
    final = table(tmp_path, {"mode": "seen-images", "images": training_images(sets_of(Config()))})
    with pytest.raises(UserError, match="which is not zero-shot: build it with this run's --split in another --mode"):
        check(final, validation={"partition": 0})
    validation = Config.model_validate({"validation": {"partition": 0}})
    images = training_images(sets_of(validation))
    assert check(table(tmp_path, {"mode": "seen-images", "images": images}), validation={"partition": 0}).warnings == ()


def test_statistics_over_unseen_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"mean and deviation were taken over '{SPLIT.unseen[0]}' too, which is unseen in this run"):
        check(table(tmp_path, {"rows": "standardised", "statistics": [SPLIT.unseen[0]]}))
    with pytest.raises(UserError, match="which is unseen in this run"):
        check(table(tmp_path, {"rows": "standardised", "statistics": SPLIT.seen}), validation={"partition": 0})


def test_a_table_standardised_over_all_classes_is_refused_even_if_it_does_not_say_so(tmp_path: Path) -> None:
    raw = np.random.default_rng(0).random((len(NAMES), 3))
    with pytest.raises(UserError, match="every attribute has mean 0 and deviation 1 over all 8 classes"):
        check(table(tmp_path, None, (raw - raw.mean(0)) / raw.std(0)))


def test_a_table_that_does_not_say_how_it_was_made_is_named_in_the_results(tmp_path: Path) -> None:
    assert check(table(tmp_path, None)).warnings == ("how the rows of t.json were made is told and cannot be checked: told",)


def test_exemplars_are_told_of_and_do_not_test(tmp_path: Path) -> None:
    images = training_images(sets_of(Config())) | {name: images_of(name, 0, 3) for name in SPLIT.unseen}
    made = table(tmp_path, {"mode": "exemplars", "images": images})
    sets = check(made, eval={"protocol": "exemplars"})
    before = sets_of(Config())
    assert set(keys(before.unseen_test)) - set(keys(sets.unseen_test)) == {f"{n}/{i}" for n in SPLIT.unseen for i in (0, 3)}
    assert len(sets.unseen_test) == 16
    assert sets.warnings[-1].startswith("NOT ZERO-SHOT: the rows of the unseen classes were made from 4 of their images")
    with pytest.raises(UserError, match="which is not zero-shot"):
        check(made)


@pytest.mark.parametrize("provenance", [None, {}])
def test_the_exemplars_protocol_needs_exemplars(tmp_path: Path, provenance: dict[str, Any] | None) -> None:
    with pytest.raises(UserError, match=r"eval\.protocol=exemplars, but .*t\.json"):
        check(table(tmp_path, provenance), eval={"protocol": "exemplars"})


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["validation.every=10"], r"validation\.every=10 without validation\.partition would follow the test classes"),
        (["eval.protocol=paper"], r"eval\.protocol=paper chooses among the steps .* give validation\.every"),
        (["eval.protocol=paper", "validation.every=5", "validation.partition=1"], r"leave one out"),
    ],
)
def test_following_the_test_classes_is_refused_unless_the_protocol_says_so(
    tmp_path: Path, overrides: list[str], sentence: str
) -> None:
    (tmp_path / "c.yaml").write_text("{}")
    with pytest.raises(UserError, match=f"c.yaml: .*{sentence}"):
        load_config(tmp_path / "c.yaml", overrides)
    assert load_config(tmp_path / "c.yaml", ["eval.protocol=paper", "validation.every=5"]).validation.every == 5
