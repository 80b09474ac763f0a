import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from dsva.evaluation.bootstrap import intervals
from dsva.evaluation.metrics import Decisions, decide, harmonic, mean_accuracy


def decisions(seed: int, per_class: int, n_seen: int, n_unseen: int, seen_tested: bool = True) -> Decisions:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(0 if seen_tested else n_seen, n_seen + n_unseen), per_class)
    scores = random.standard_normal((len(labels), n_seen + n_unseen))
    scores[np.arange(len(labels)), labels] += 1.5
    return decide(scores, labels, n_seen)


def sides(decided: Decisions, gamma: float) -> tuple[float, float, float]:
    counts = decided.gzsl(gamma)
    zsl = mean_accuracy(decided.zsl(), slice(decided.n_seen, None))
    return zsl, mean_accuracy(counts, slice(decided.n_seen)), mean_accuracy(counts, slice(decided.n_seen, None))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), per_class=st.integers(5, 30), gamma=st.floats(-1, 1))
def test_intervals_hold_the_figure_and_widen_where_classes_are_drawn_too(seed: int, per_class: int, gamma: float) -> None:
    decided = decisions(seed, per_class, 6, 4)
    over_images, over_classes = intervals({"a": decided}, {"a": gamma})["a"]
    zsl, seen, unseen = sides(decided, gamma)
    for name, value in (("zsl", zsl), ("seen", seen), ("unseen", unseen)):
        images, classes = getattr(over_images, name), getattr(over_classes, name)
        assert images.low - 1e-9 <= value <= images.high + 1e-9
        assert classes.high - classes.low >= images.high - images.low - 0.05
    assert over_images.harmonic is not None
    assert over_images.harmonic.low - 0.02 <= float(harmonic(seen, unseen)) <= over_images.harmonic.high + 0.02


def test_one_classs_interval_is_that_of_the_binomial() -> None:
    decided = decisions(0, 200, 2, 1, seen_tested=False)
    decided = Decisions(2, 3, decided.labels, decided.seen, np.where(np.arange(200) < 140, 2, 0), decided.breaks)
    over_images, over_classes = intervals({"a": decided}, {"a": 0.0})["a"]
    low, high = binom(200, 0.7).ppf([0.025, 0.975]) / 200
    assert (over_images.zsl.low, over_images.zsl.high) == pytest.approx((low, high), abs=0.011)
    assert over_classes.zsl == over_images.zsl
    assert (over_images.seen, over_images.harmonic) == (None, None)


def test_a_class_that_is_all_right_or_all_wrong_varies_over_classes_only() -> None:
    labels = np.repeat([2, 3], 50)
    nothing = np.zeros(100, np.int64)
    decided = Decisions(2, 4, labels, nothing, np.full(100, 2), np.full(100, -1.0))
    over_images, over_classes = intervals({"a": decided}, {"a": 0.0})["a"]
    assert (over_images.zsl.low, over_images.zsl.high) == (0.5, 0.5)
    assert (over_classes.zsl.low, over_classes.zsl.high) == (0.0, 1.0)


def test_the_same_decisions_give_the_same_intervals_in_any_company() -> None:
    first, second = decisions(1, 20, 5, 3), decisions(2, 20, 5, 3)
    gammas = {"a": 0.1, "b": 0.2}
    together = intervals({"a": first, "b": second}, gammas)
    assert together["b"] == intervals({"b": second}, gammas)["b"]
    assert together["a"] != together["b"]
