"""Rows of new classes from text: with a CLIP model as the table's own rows were made, without one from the words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsva.attributes.build import Recipe, build
from dsva.attributes.classes import Wanted
from dsva.attributes.rows import predicted
from dsva.attributes.vocabulary import Vocabulary
from dsva.demo.classes import SEEN, UNSEEN, attribute_table
from dsva.inference.classifier import device
from dsva.inference.described_classes import described, mentioned
from dsva.model.prompts import TEMPLATES, TextTower
from dsva.protocol.attribute_table import AttributeTable
from dsva.protocol.table_provenance import Mode, Rows
from shards.errors import UserError
from tests.helpers.tiny_clip import tiny_clip

WORDS = Vocabulary({"all": ("water", "sand", "trees", "roofs")}, ("a photo of {}", "{} from above"), ("there is {}",))
NAMES = ("Beach", "Forest", "Village", "Harbour")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def tower(clip: Path) -> TextTower:
    return TextTower.load(str(clip), device())


def table_of(clip: Path, tower: TextTower, mode: Mode, rows: Rows, names: tuple[str, ...] = NAMES) -> AttributeTable:
    told = {name: {"Harbour": "many boats at quays"}.get(name, name.lower()) for name in names}
    return build(tower, str(clip), WORDS, [Wanted(names, told, "split", 3, None)], Recipe(mode, rows))


@pytest.mark.parametrize("mode", ["text", "sentences"])
@pytest.mark.parametrize("rows", ["raw", "standardised", "l2"])
def test_a_description_gets_the_row_that_a_class_of_the_table_has(clip: Path, tower: TextTower, mode: Mode, rows: Rows) -> None:
    whole = table_of(clip, tower, mode, rows)
    table = table_of(clip, tower, mode, rows, NAMES[:3])
    made = described(["Harbour: many boats at quays"], table, NAMES[:3], None)  # the model is the one that the table names
    np.testing.assert_allclose(made.strengths, whole.rows(["Harbour"]), atol=2e-4)
    assert made.made == {"Harbour": f"by {clip} from 'many boats at quays'"}


def test_rows_of_people_or_images_are_predicted_from_the_names_of_the_seen_classes(clip: Path, tower: TextTower) -> None:
    rows = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    table = replace(table_of(clip, tower, "text", "raw"), matrix=rows, provenance=None)
    made = described(["Solar park"], table, NAMES[:3], str(clip))
    texts = tower.embed([name.lower() for name in NAMES[:3]], TEMPLATES).double().numpy()
    expected = predicted(texts, rows[:3].astype(float), tower.embed(["solar park"], TEMPLATES).double().numpy())
    np.testing.assert_allclose(made.strengths, expected, atol=1e-5)


def test_another_model_than_the_tables_is_refused(clip: Path, tower: TextTower, tmp_path: Path) -> None:
    other = tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="come from the text of another model"):
        described(["Solar park"], table_of(clip, tower, "text", "raw"), NAMES[:3], str(other))


def test_names_are_found_in_singular_and_plural_and_denied_ones_too() -> None:
    names = ("boat", "crops in rows", "beach", "grass", "parked cars")
    assert mentioned("Boats near beaches, no grass; crops in rows.", names) == {0: True, 1: True, 2: True, 3: False}
    assert mentioned("gras, boating, rows of crops", names) == {}


def test_what_a_text_does_not_name_follows_from_what_it_names(tmp_path: Path) -> None:
    """The demonstration's unseen classes, told by the grounds and objects that they are made of."""
    value = attribute_table()
    names = tuple(name for members in value["groups"].values() for name in members)
    matrix = np.array(value["matrix"], np.float32)
    table = AttributeTable(Path("t.json"), tuple(value["classes"]), names, {"all": tuple(range(len(names)))}, matrix, "", "")
    seen = [scene.name for scene in SEEN]
    texts = [f"new {scene.name}: {', '.join(scene.strengths())}" for scene in UNSEEN]
    made = described(texts, table, seen, None)
    wanted = table.rows([scene.name for scene in UNSEEN])
    deviation = table.rows(seen).std(0)
    distances = np.linalg.norm((made.strengths[:, None] - wanted[None]) / deviation, axis=2)
    assert distances.argmin(1).tolist() == list(range(len(UNSEEN)))
