"""Classes and attributes that a table cannot tell apart are told before training, or refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsva.config import load as load_config
from dsva.protocol.experiment import Experiment
from dsva.protocol.separability import alike, listed, unvarying
from shards.errors import UserError
from tests.helpers.noise import Noise


def opened(tiny: Noise, folder: Path, change: Any, *overrides: str) -> tuple[str, ...]:
    """Return the warnings of an experiment whose attribute rows, [8, 5], were changed; the last two classes are unseen."""
    value = json.loads((tiny.root / "attributes.json").read_text())
    matrix = np.array(value["matrix"])
    change(matrix)
    (folder / "a.json").write_text(json.dumps({**value, "matrix": matrix.tolist()}))
    given = [f"classes.attributes={folder / 'a.json'}", f"run.dir={folder / 'run'}", *overrides]
    return Experiment.open(load_config(tiny.config, given)).sets.warnings


def equal_rows(matrix: np.ndarray) -> None:
    matrix[7] = matrix[2]


def equal_where_it_counts(matrix: np.ndarray) -> None:
    matrix[:6, 1] = 0.25  # the same in all seen classes, so that it counts for nothing in the unseen ones either
    matrix[7] = matrix[6]
    matrix[7, 1] = 0.9


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_equal_rows_are_told_by_the_classes_names(tiny: Noise, tmp_path: Path, kind: str) -> None:
    *_, told = opened(tiny, tmp_path, equal_rows, f"scores.kind={kind}")
    assert told == "a.json has equal rows for class_2, class_7: no score can tell these classes apart"


def test_rows_are_compared_as_scores_meet_them(tiny: Noise, tmp_path: Path) -> None:
    *_, equal, constant = opened(tiny, tmp_path, equal_where_it_counts)
    assert equal == "a.json has equal rows for class_6, class_7: no score can tell these classes apart"
    assert constant == (
        "a.json has 1 of 5 attributes that are the same in all seen classes, from which nothing can be learned: long"
    )
    *_, constant = opened(tiny, tmp_path, equal_where_it_counts, "scores.kind=dot")
    assert "equal rows" not in "".join(opened(tiny, tmp_path, equal_where_it_counts, "scores.kind=dot"))
    assert constant.endswith("nothing can be learned: long")


def test_an_ordinary_table_is_not_spoken_of(tiny: Noise, tmp_path: Path) -> None:
    assert not [told for told in opened(tiny, tmp_path, lambda matrix: None) if "equal" in told or "same" in told]


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_seen_classes_that_are_all_alike_are_refused(tiny: Noise, tmp_path: Path, kind: str) -> None:
    def all_alike(matrix: np.ndarray) -> None:
        matrix[:6] = matrix[0]

    with pytest.raises(UserError, match=r"a\.json: no attribute tells the seen classes \(6\) apart, so there is nothing to learn"):
        opened(tiny, tmp_path, all_alike, f"scores.kind={kind}")


def test_strengths_beyond_float32_are_refused(tiny: Noise, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.json: strengths are too large to be standardised in float32"):
        opened(tiny, tmp_path, lambda matrix: matrix.__imul__(2e38))
    with pytest.raises(UserError, match=r"a\.json: class 'class_0', attribute 'round' is not a finite number"):
        opened(tiny, tmp_path, lambda matrix: matrix.__imul__(1e300))


def test_groups_are_found_in_their_order_and_zeros_have_no_sign() -> None:
    rows = np.array([[0.0, 1], [3, 4], [-0.0, 1], [5, 6], [3, 4 + 1e-12], [0, 1.01]])
    assert alike(rows, "abcdef") == [("a", "c"), ("b", "e")]
    assert alike(np.zeros((2, 3)), "ab") == [("a", "b")]
    assert unvarying(rows) == []
    assert unvarying(np.array([[1, 2], [1, 3]])) == [0]


def test_many_names_are_counted() -> None:
    assert listed([str(place) for place in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
