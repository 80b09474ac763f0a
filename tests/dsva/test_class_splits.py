import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsva.config import ValidationConfig
from dsva.protocol.class_splits import find_split, load_split
from dsva.protocol.image_sets import image_sets
from shards.errors import UserError
from shards.index import ShardSet
from tests.helpers.shard_sets import shard_set

CONFIGS = Path(__file__).parents[2] / "configs" / "aid"
NAMES = [f"Class{letter}" for letter in "ABCDEFGHIJ"]


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def images_of(classes: list[str]) -> ShardSet:
    return shard_set([(f"{name}/1", name.encode()) for name in classes])


@given(seed=st.integers(0, 999_999_999), unseen=st.integers(1, 7))
def test_a_drawn_split_parts_the_classes_and_fewer_unseen_ones_are_among_more(seed: int, unseen: int) -> None:
    data = images_of(NAMES)
    split, larger = (find_split(data, None, f"random:{seed}:{count}") for count in (unseen, unseen + 1))
    assert len(split.unseen) == unseen
    assert sorted((*split.seen, *split.unseen)) == NAMES
    assert set(split.unseen) < set(larger.unseen)


def test_a_drawn_split_is_a_matter_of_seed_and_names_alone() -> None:
    split = find_split(images_of(NAMES), CONFIGS / "class_splits.json", "random:1:3")
    assert split.unseen == ("ClassB", "ClassC", "ClassF")
    assert find_split(images_of(NAMES[::-1]), None, "random:1:3") == split
    drawn = {find_split(images_of(NAMES), None, f"random:{seed}:3").unseen for seed in range(20)}
    assert len(drawn) > 15


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("random:1", "is not of the form random:SEED:UNSEEN"),
        ("random:-1:3", "is not of the form random:SEED:UNSEEN"),
        ("random:1:0", "asks for 0 unseen classes of the 10 in SET: ask for 1 to 8"),
        ("random:1:9", "asks for 9 unseen classes of the 10 in SET: ask for 1 to 8"),
    ],
)
def test_impossible_draws_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find_split(images_of(NAMES), None, name)


def test_a_draw_from_classes_that_are_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="SET has the classes 'Bare_Land' and 'bareland', which are one class"):
        find_split(images_of(["Bare_Land", "Pond", "Port", "bareland"]), None, "random:1:1")


def test_a_set_whose_own_split_has_a_class_on_both_sides_is_refused() -> None:
    images = [(f"{name}/1", name.encode()) for name in ("Port", "port", "Pond")]
    data = shard_set(images, ("train", "test_unseen"), lambda key: int(key.startswith("Port")))
    with pytest.raises(UserError, match="'Port' and 'port', which are one class"):
        find_split(data, None, "own")


def test_without_a_file_the_split_is_the_sets_own() -> None:
    keys = [("Pond/1", b"1"), ("Port/1", b"2"), ("Park/1", b"3")]
    data = shard_set(keys, ("", "train", "test_unseen"), lambda key: 2 if key == "Port/1" else 1)
    split = find_split(data, None, "own")
    assert (split.seen, split.unseen) == (("Park", "Pond"), ("Port",))
    with pytest.raises(UserError, match="SET names no `test_unseen` images"):
        find_split(images_of(NAMES), None, "own")


def test_a_set_that_calls_a_class_seen_and_unseen_is_refused() -> None:
    data = shard_set([("Pond/1", b"1"), ("Pond/2", b"2"), ("Park/1", b"3")], ("train", "test_unseen"), lambda key: key == "Pond/2")
    with pytest.raises(UserError, match="`test_unseen` images of 'Pond' and 1 others of it that train"):
        find_split(data, None, "own")


def test_names_of_a_file_that_people_read_as_the_sets_are_taken_and_told(tmp_path: Path) -> None:
    data = images_of(["Fore\u0302t", "Pond", "BareLand"])
    file = write(tmp_path / "splits.json", {"a": {"seen": ["For\xeat", "bare land"], "unseen": ["Pond"]}})
    split = find_split(data, file, "a")
    assert (split.seen, split.unseen) == (("Fore\u0302t", "BareLand"), ("Pond",))
    warned = image_sets(data, split, 0, ValidationConfig(), shots=1).warnings
    assert warned == (
        "classes are taken although SET spells them otherwise: 'Fore\u0302t' for 'For\xeat', 'BareLand' for 'bare land'",
    )
    one_form = write(tmp_path / "one.json", {"a": {"seen": ["For\xeat", "Pond"], "unseen": ["Fore\u0302t"]}})
    with pytest.raises(UserError, match="are one class: correct the file"):
        find_split(data, one_form, "a")


def test_published_aid_splits_are_read() -> None:
    for name, seen, unseen in (("25_5", 25, 5), ("20_10", 20, 10), ("15_15", 15, 15)):
        split = load_split(CONFIGS / "class_splits.json", name)
        assert (len(split.seen), len(split.unseen)) == (seen, unseen)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": {"seen": ["Pond"], "unseen": ["Park", "pond"]}}, "split 'a': 'Pond' and 'pond' are one class: correct the file$"),
        ({"a": {"seen": ["Bare_Land"], "unseen": ["bare land"]}}, "'Bare_Land' and 'bare land' are one class"),
        ({"a": {"seen": ["Pond", "Pond"], "unseen": ["Park"]}}, "split 'a': seen: 'Pond' is there twice"),
        ({"a": {"seen": ["Pond"], "unseen": []}}, r"split 'a': unseen=\[\]: List should have at least 1 item"),
        ({"a": {"seen": ["Pond"]}}, "split 'a': there is no 'unseen', which is needed"),
        ({"a": {"seen": ["Pond"], "unseen": "Park"}}, "unseen='Park': Input should be a valid list"),
        ({"a": {"seen": ["Pond"], "unseen": ["Park", None]}}, "unseen.1=None: Input should be a valid string"),
        ({"a": {"seen": ["Pond"], "unseen": [" "]}}, "unseen.0: a name is empty"),
        ({"a": {"seen": ["Pond"], "unseen": ["Pa\nrk"]}}, r"unseen.0: 'Pa\\nrk' has a control character"),
        ({"a": 3}, "split 'a': Input should be keys with values"),
        ({"a1": {"seen": ["Pond"], "unseen": ["Park"]}}, "has no split 'a': did you mean 'a1'"),
        (["a"], "holds a JSON list"),
    ],
)
def test_wrong_split_files_are_refused(tmp_path: Path, value: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_split(write(tmp_path / "splits.json", value), "a")


def test_unreadable_split_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_split(tmp_path / "none.json", "a")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        load_split(tmp_path / "bad.json", "a")
