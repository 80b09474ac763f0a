import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dsva.evaluation.metrics import Decisions, chance, concatenate, curve, decide, harmonic, mean_accuracy
from shards.errors import UserError


def brute(scores: NDArray[np.float64], labels: NDArray[np.int64], n_seen: int, gamma: float) -> tuple[float, float]:
    """S and U by their definition: subtract gamma, take the best class, average each class, then the classes."""
    shifted = scores - gamma * (np.arange(scores.shape[1]) < n_seen)
    right = shifted.argmax(axis=1) == labels
    per_class = {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}
    sides = [[v for k, v in per_class.items() if (k < n_seen) is side] for side in (True, False)]
    return tuple(float(np.mean(side)) if side else 0.0 for side in sides)  # type: ignore[return-value]


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Scores in quarters of a whole number, so that ties are common and differences exact."""
    n_seen, n_unseen, images = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 25))
    classes = n_seen + n_unseen
    quarters = draw(st.lists(st.integers(-8, 8), min_size=images * classes, max_size=images * classes))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    return np.array(quarters, float).reshape(images, classes) / 4, np.array(labels), n_seen


def gammas_between(decisions: Decisions) -> list[float]:
    """Every break, every middle between two, and one gamma outside on either side."""
    breaks = np.unique(decisions.breaks)
    return [*breaks, *((breaks[1:] + breaks[:-1]) / 2), breaks[0] - 1, breaks[-1] + 1]


@given(cases())
def test_curve_and_counts_equal_brute_force_at_and_between_all_breaks(
    case: tuple[NDArray[np.float64], NDArray[np.int64], int],
) -> None:
    scores, labels, n_seen = case
    decisions = decide(scores, labels, n_seen)
    steps = curve(decisions)
    for gamma in gammas_between(decisions):
        expected = brute(scores, labels, n_seen, gamma)
        counts = decisions.gzsl(gamma)
        assert steps.at(gamma) == pytest.approx(expected, abs=1e-12)
        counted = mean_accuracy(counts, slice(n_seen)), mean_accuracy(counts, slice(n_seen, None))
        assert counted == pytest.approx(expected, abs=1e-12)


@given(cases())
def test_ausuc_is_the_weighted_share_of_pairs_in_the_right_order(
    case: tuple[NDArray[np.float64], NDArray[np.int64], int],
) -> None:
    scores, labels, n_seen = case
    decisions = decide(scores, labels, n_seen)
    totals = np.bincount(labels, minlength=scores.shape[1])
    present = [max(1, np.count_nonzero(side)) for side in (totals[:n_seen], totals[n_seen:])]
    area = 0.0
    for i in np.flatnonzero(decisions.seen == labels):
        for j in np.flatnonzero(decisions.unseen == labels):
            order = np.sign(decisions.breaks[i] - decisions.breaks[j])
            area += (order + 1) / 2 / (totals[labels[i]] * present[0] * totals[labels[j]] * present[1])
    assert curve(decisions).ausuc() == pytest.approx(area, abs=1e-12)


@given(cases())
def test_best_gamma_gives_the_best_harmonic_mean(case: tuple[NDArray[np.float64], NDArray[np.int64], int]) -> None:
    scores, labels, n_seen = case
    decisions = decide(scores, labels, n_seen)
    gamma, best = curve(decisions).best()
    assert best == pytest.approx(max(harmonic(*brute(scores, labels, n_seen, g)) for g in gammas_between(decisions)), abs=1e-12)
    assert harmonic(*brute(scores, labels, n_seen, gamma)) == pytest.approx(best, abs=1e-12)


@given(cases(), st.integers(0, 25))
def test_parts_join_to_the_whole_in_the_order_asked_for(case: tuple[NDArray[np.float64], NDArray[np.int64], int], cut: int) -> None:
    scores, labels, n_seen = case
    whole, turned = decide(scores, labels, n_seen), np.arange(len(labels))[::-1]
    parts = [decide(scores[part], labels[part], n_seen) for part in (slice(cut), slice(cut, None))]
    joined = concatenate(parts, turned)
    assert np.array_equal(joined.zsl(), whole.zsl())
    assert np.array_equal(joined.gzsl(0.25), parts[0].gzsl(0.25) + parts[1].gzsl(0.25))
    assert joined.labels.tolist() == labels[turned].tolist()
    assert joined.breaks.tolist() == whole.breaks[turned].tolist()


@given(cases())
def test_at_gamma_zero_the_plain_argmax_decides(case: tuple[NDArray[np.float64], NDArray[np.int64], int]) -> None:
    scores, labels, n_seen = case
    counts = decide(scores, labels, n_seen).gzsl(0)
    expected = np.zeros_like(counts)
    np.add.at(expected, (labels, scores.argmax(axis=1)), 1)
    assert np.array_equal(counts, expected)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_float32_scores_decide_the_same_on_the_curve_and_in_the_counts(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, labels = random.standard_normal((60, 7)).astype(np.float32), random.integers(0, 7, 60)
    decisions = decide(scores, labels, 4)
    steps = curve(decisions)
    for gamma in decisions.breaks:
        counts = decisions.gzsl(gamma)
        assert steps.at(gamma) == pytest.approx((mean_accuracy(counts, slice(4)), mean_accuracy(counts, slice(4, None))), abs=1e-12)


def test_a_worked_example() -> None:
    scores = np.array([[3.0, 0, 1], [0, 2, 1], [0, 1, 4], [2, 0, 1], [5, 0, 1]])
    labels = np.array([0, 1, 2, 2, 2])  # breaks 2, 1, -3, 1, 4
    decisions = decide(scores, labels, 2)
    assert np.array_equal(decisions.gzsl(0), [[1, 0, 0], [0, 1, 0], [2, 0, 1]])
    assert np.array_equal(decisions.zsl(), [[0, 0, 0], [0, 0, 0], [0, 0, 3]])
    steps = curve(decisions)
    assert steps.breaks.tolist() == [-3, 1, 2, 4]
    assert steps.seen.tolist() == [1, 1, 0.5, 0, 0]
    assert steps.unseen == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])
    assert steps.ausuc() == pytest.approx(1 / 3 + 0.75 / 3)
    assert steps.best() == pytest.approx((1.5, 2 * 0.5 * (2 / 3) / (0.5 + 2 / 3)))


def test_classes_weigh_the_same_however_many_images_they_have() -> None:
    scores = np.eye(4)[[0, 1, 1, 1, 1, 2]]
    counts = decide(scores, np.array([0, 0, 0, 0, 1, 2]), 2).gzsl(0)
    assert mean_accuracy(counts, slice(2)) == (0.25 + 1) / 2


def test_nothing_right_means_zero_everywhere() -> None:
    steps = curve(decide(np.array([[0.0, 1, 0, 1], [0, 1, 0, 1]]), np.array([0, 2]), 2))
    assert (steps.at(0.5), steps.ausuc(), steps.best()) == ((0, 0), 0, (0, 0))


def test_random_scores_reach_the_chance_level() -> None:
    random = np.random.default_rng(7)
    labels = np.repeat(np.arange(5), 8000)
    decisions = decide(random.standard_normal((40000, 5)), labels, 3)
    counts, steps = decisions.gzsl(0), curve(decisions)
    measured = {
        "zsl": mean_accuracy(decisions.zsl(), slice(3, None)),
        "seen": mean_accuracy(counts, slice(3)),
        "unseen": mean_accuracy(counts, slice(3, None)),
        "harmonic": float(harmonic(*steps.at(0))),
        "ausuc": steps.ausuc(),
    }
    assert measured == pytest.approx(chance(3, 2), abs=0.01)


def test_scores_of_a_diverged_model_are_refused() -> None:
    scores = np.zeros((3, 4), np.float32)
    scores[1, 2] = np.nan
    with pytest.raises(UserError, match="1 of 3 images have scores that are not finite"):
        decide(scores, np.zeros(3, int), 2)
