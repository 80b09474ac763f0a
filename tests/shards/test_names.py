"""Names and words that people take for one."""

import unicodedata

import pytest

from shards.errors import UserError
from shards.names import alias, matching, same_names, told_apart
from shards.split_words import refuse_unknown, split_word


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Bare_Land", "bare land"),
        ("BareLand", "bare-land"),
        ("Airport", " Airport "),
        ("For\xeat", unicodedata.normalize("NFD", "For\xeat")),
        ("Air\u200bport", "Airport"),
        ("\uff21irport", "Airport"),  # a wide letter
        ("Stra\xdfe", "STRASSE"),
        ("Nam\xadib\xa0Desert", "namib desert"),
        ("\U0001f3d6\ufe0f", "\U0001f3d6"),
    ],
)
def test_names_that_people_read_as_one(first: str, second: str) -> None:
    assert alias(first) == alias(second)
    assert same_names(["x", first, second]) == (first, second)
    assert matching(first, ["x", second]) == second


@pytest.mark.parametrize(
    ("first", "second"), [("1.0", "10"), ("LCZ 1-1", "LCZ 11"), ("a$b", "ab"), ("\u0915\u0940", "\u0915\u093e"), ("pond", "ponds")]
)
def test_names_that_differ(first: str, second: str) -> None:
    assert alias(first) != alias(second)
    assert matching(first, [second]) is None


def test_the_very_name_is_meant_before_one_like_it() -> None:
    assert matching("Pond", ["pond", "Pond"]) == "Pond"
    assert matching("POND", ["pond", "Pond"]) is None


def test_names_that_are_drawn_alike_are_told_apart() -> None:
    assert told_apart("Fore\u0302t", "For\xeat") == r"'Fore\u0302t' and 'For\xeat'"
    assert told_apart("Airport", "airport") == "'Airport' and 'airport'"
    assert told_apart("Air\u200bport", "Airport") == r"'Air\u200bport' and 'Airport'"


def test_words_of_splits() -> None:
    for text, word in {
        "Train": "train",
        " training ": "train",
        "VALID": "val",
        "validation": "val",
        "dev": "val",
        "Testing": "test",
    }.items():
        assert split_word(text) == word
    for text, word in {
        "test-seen": "test_seen",
        "Test Unseen": "test_unseen",
        "train_and_test_seen": "train_and_test_seen",
    }.items():
        assert split_word(text) == word
    assert split_word("  ") == ""
    assert [split_word(text) for text in ("holdout", "val1", "0", "1", "nan", "trainval", "-")] == [None] * 7
    refuse_unknown({"": 3, "Valid": 2}, "TABLE")
    with pytest.raises(
        UserError, match=r"TABLE has splits that mean nothing here: 'val1' \(5 images\), '0' \(2 images\): write train, val"
    ):
        refuse_unknown({"train": 9, "0": 2, "val1": 5}, "TABLE")
