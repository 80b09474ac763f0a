"""The words that say whether an image trains or tests, wherever they stand: a table's column, a sample's JSON, a folder's name."""

import re
from collections import Counter
from collections.abc import Mapping

from shards.errors import UserError
from shards.names import alias

TRAIN, VAL, TEST, TEST_SEEN, TEST_UNSEEN = "train", "val", "test", "test_seen", "test_unseen"
# An image of the published training set that is one of its test images of seen classes too.
TRAIN_AND_TEST_SEEN = "train_and_test_seen"
_OTHERS = {"training": TRAIN, "valid": VAL, "validation": VAL, "dev": VAL, "testing": TEST, "unseen": TEST_UNSEEN}
WORDS = (TRAIN, VAL, TEST, TEST_SEEN, TEST_UNSEEN, TRAIN_AND_TEST_SEEN)
_BY_ALIAS = {**{alias(word): word for word in WORDS}, **_OTHERS}
# What a column is called that is a split, beside the splits' own words: words of its name, and whole names.
_IN_NAMES = {"split", "splits", "fold", "folds", "kfold", "subset", "partition"}
_NAMES = {"set", "cv", "phase", "usage", "seen", "holdout", "zsl"}


def split_word(text: str) -> str | None:
    """Return which of `WORDS` a text means, whatever its case and separators; "" for an empty text, None for any other."""
    return _BY_ALIAS.get(alias(text)) if text.strip() else ""


def names_split(name: str) -> bool:
    """Tell whether a column, field, folder or file is called like a split: `Subset`, `isTest`, `train2017`, `testset`."""
    words = {word.casefold() for word in re.findall(r"[^\W\d_a-z]?[^\W\d_A-Z]+|[A-Z]+", name)}
    whole = re.sub("^i[sn]", "", alias(name))
    known = any(map(split_word, (*words, whole, re.sub("(sets?|data)$", "", whole))))
    return known or bool(_IN_NAMES & words) or whole in _NAMES or "split" in whole


def refuse_unknown(counts: Mapping[str, int], where: str) -> None:
    """Refuse splits that are no known words; `counts` says how many images have each.

    Raises:
        UserError: there is such a split.
    """
    unknown = Counter({text: count for text, count in counts.items() if split_word(text) is None})
    if unknown:
        told = ", ".join(f"{text!r} ({count:,} images)" for text, count in unknown.most_common(5))
        raise UserError(f"{where} has splits that mean nothing here: {told}: write {', '.join(WORDS[:-1])}, or nothing")
