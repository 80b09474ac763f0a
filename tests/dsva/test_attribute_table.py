import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from dsva import json_files as inputs
from dsva.protocol.attribute_table import load
from dsva.protocol.table_provenance import TableProvenance, gaps
from shards.errors import UserError
from shards.files import file_sha256

AID_TABLE = Path(__file__).parents[2] / "configs" / "aid" / "class_attributes.json"


def good() -> dict[str, Any]:
    return {
        "classes": ["Pond", "Park"],
        "groups": {"materials": ["water", "grass"], "surface": ["green"]},
        "matrix": [[1, 0, 0.5], [0.25, 1, 1]],
    }


def test_aid_table_has_its_rows_and_groups() -> None:
    table, raw = load(AID_TABLE), json.loads(AID_TABLE.read_text())
    assert table.matrix.shape == (30, 68)
    assert table.matrix.dtype == np.float32
    assert [table.names[place] for place in table.groups["materials"]] == raw["groups"]["materials"]
    assert sorted(sum(table.groups.values(), ())) == list(range(68))
    rows = table.rows(["Viaduct", "Airport"])
    assert np.array_equal(rows, np.array([raw["matrix"][29], raw["matrix"][0]], np.float32))
    assert table.sha256 == file_sha256(AID_TABLE)
    assert table.meaning == raw["meaning"]


def test_the_three_formats_give_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(good()))
    (tmp_path / "a.csv").write_text("class,water,grass,green\nPond,1,0,0.5\nPark,0.25,1,1\n")
    names = np.array([["Pond"], ["Park"]], object)
    savemat(tmp_path / "a.mat", {"att": np.array(good()["matrix"]).T, "allclasses_names": names, "train_loc": [1, 2]})
    tables = [load(tmp_path / f"a.{suffix}") for suffix in ("json", "csv", "mat")]
    assert [table.classes for table in tables] == [("Pond", "Park")] * 3
    assert all(np.array_equal(table.matrix, tables[0].matrix) for table in tables)
    assert tables[0].groups == {"materials": (0, 1), "surface": (2,)}
    assert tables[1].names == tables[0].names
    assert tables[1].groups == tables[2].groups == {"all": (0, 1, 2)}


ORIGIN = {
    "mode": "text",
    "clip": "owner/model",
    "clip_sha256": "ab",
    "class_templates": ["a photo of {}"],
    "attribute_templates": ["{}"],
    "described": {"Pond": "a pond", "Park": "park"},
}


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_a_table_survives_writing_bit_for_bit(numbers: list[float]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(good() | {"matrix": [numbers[:3], numbers[3:]], "meaning": "given", "provenance": ORIGIN}))
        table = load(path)
        table.write(path)
        again = load(path)
    assert again.matrix.tobytes() == table.matrix.tobytes()
    assert (again.classes, again.names, again.groups, again.meaning) == (table.classes, table.names, table.groups, "given")
    assert again.provenance == table.provenance
    assert again.provenance is not None
    assert again.provenance.described["Pond"] == "a pond"


@pytest.mark.parametrize(
    ("provenance", "place"),
    [
        (ORIGIN | {"mode": "guess"}, "provenance.mode"),
        (ORIGIN | {"images": {"Pond": [1]}}, "provenance.images.Pond"),
        (ORIGIN | {"images": {"Pond": "3 -2"}}, "provenance.images.Pond"),
        (ORIGIN | {"images": {"Pond": "9" * 19}}, "provenance.images.Pond"),
        (3, "provenance"),
        (None, "provenance"),
    ],
)
def test_provenance_that_the_builder_did_not_write_is_refused(tmp_path: Path, provenance: object, place: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(good() | {"provenance": provenance}))
    with pytest.raises(UserError, match=f"a.json: {place}[=:].*: correct the file, or build the table again$"):
        load(tmp_path / "a.json")


def test_a_table_from_millions_of_images_says_which_and_can_be_read(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).permutation(5_000_000)[:3_000_000]
    made = TableProvenance.model_validate(ORIGIN | {"images": {"Pond": gaps(ids[1_000_000:]), "Park": gaps(ids[:1_000_000])}})
    (tmp_path / "a.json").write_text(json.dumps(good()))
    replace(load(tmp_path / "a.json"), provenance=made).write(tmp_path / "b.json")
    assert (tmp_path / "b.json").stat().st_size < 3 * len(ids)
    again = load(tmp_path / "b.json").provenance
    assert again is not None
    assert np.array_equal(again.samples(["Pond"]), np.sort(ids[1_000_000:]))
    assert not len(again.samples(["Port"]))


def test_class_without_a_row_is_refused() -> None:
    with pytest.raises(UserError, match="describes no class 'storage_tank': did you mean 'StorageTanks'"):
        load(AID_TABLE).rows(["Airport", "storage_tank"])


def test_a_class_may_be_spelled_as_people_do_not_notice() -> None:
    table = load(AID_TABLE)
    assert np.array_equal(table.rows(["storage tanks"]), table.rows(["StorageTanks"]))
    place = table.classes.index("StorageTanks")
    twins = replace(table, classes=("Storage_Tanks", *table.classes[1:]))
    assert np.array_equal(twins.rows(["StorageTanks"]), table.matrix[[place]])
    with pytest.raises(UserError, match="describes no class 'storage tanks'"):
        twins.rows(["storage tanks"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"matrix": [[1, 0, 0]]}, r"shape \[1, 3\] but there are 2 classes and 3 attributes"),
        ({"matrix": [[1, 0, 0], [1, 0]]}, "rows of one length"),
        ({"matrix": [[1, 0, "x"], [1, 0, 0]]}, "not a table of numbers"),
        ({"matrix": [[1, 0, 10**400], [1, 0, 0]]}, "not a table of numbers"),
        ({"matrix": [[1, 0, 0], [1, float("nan"), 0]]}, "class 'Park', attribute 'grass' is not a finite number"),
        ({"classes": ["Pond", "Pond"]}, "a.json: classes: 'Pond' is there twice: correct the file$"),
        ({"classes": ["Pond", 3]}, "classes.1=3: Input should be a valid string: correct the file$"),
        ({"groups": {"a": ["water"], "b": ["water", "green"]}}, "'water' is there twice"),
        ({"groups": {"a": []}}, r"groups.a=\[\]: List should have at least 1 item"),
        ({"groups": ["water"]}, r"groups=\['water'\]: Input should be a valid dictionary"),
        ({"groups": {"a\x1b[31m": ["water", "grass", "roofs"]}}, r"groups.a\\x1b\[31m: 'a\\x1b\[31m' has a control character"),
        ({"classes": ["Pond", "Po\ud800nd"]}, "classes.1: 'Po.ud800nd' has a control character"),
        ({"meaning": "m" * 10_000_000}, "meaning: more than 10,000 characters: correct the file$"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(good() | change))
    with pytest.raises(UserError, match=sentence):
        load(tmp_path / "a.json")


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe,")
    (tmp_path / "a.mat").write_bytes(b"no matrix" * 50)
    savemat(tmp_path / "b.mat", {"att": np.eye(2)})
    for name, sentence in (
        ("a.json", "a.json: there is no 'classes', which is needed: correct the file"),
        ("a.csv", "not a CSV table in UTF-8"),
        ("a.mat", "cannot be read as a MATLAB file"),
        ("b.mat", "has no variable 'allclasses_names'"),
        ("a.txt", "its suffix must be one of .json, .csv, .mat"),
    ):
        with pytest.raises(UserError, match=sentence):
            load(tmp_path / name)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(inputs.MAX_BYTES + 1)
    with pytest.raises(UserError, match="is larger than"):
        load(tmp_path / "a.json")
