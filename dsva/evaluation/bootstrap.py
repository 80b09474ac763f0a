"""How far figures could have come out otherwise: percentile bootstrap (Efron 1979) over test images, and over classes.

Which images a replicate draws is a hash of replicate, class and slot: every source of scores meets the same draws, and
the same decisions give the same intervals.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dsva.evaluation.metrics import Decisions, harmonic
from dsva.evaluation.results import Interval, Intervals
from shards.hashing import BOOTSTRAP, uniform

Floats = NDArray[np.float64]
REPLICATES = 1000
SHARES = (0.025, 0.975)  # of replicates below the interval's ends
IMAGES, SEEN, UNSEEN = range(3)  # streams under BOOTSTRAP


def intervals(decisions: Mapping[str, Decisions], gammas: Mapping[str, float]) -> dict[str, tuple[Intervals, Intervals]]:
    """Return, by source of scores, the 95 % intervals of its figures at its gamma: over images, and over images and classes.

    The first keeps the classes and draws each class's images anew, with replacement: what other images of these classes
    would have given. The second draws classes too: what other classes would have given.
    """
    first = next(iter(decisions.values()))
    correct = np.stack(
        [hits for source, decided in decisions.items() for hits in _correct(decided, gammas[source])], axis=1
    )  # [N, sources * 2]: among the unseen classes alone, among all
    accuracies, present = _resampled(first.labels, correct, first.n_classes)
    of_seen, of_unseen = np.split(present, [np.searchsorted(present, first.n_seen)])
    drawn = _drawn(len(of_seen), SEEN), _drawn(len(of_unseen), UNSEEN)
    found = {}
    for place, source in enumerate(decisions):
        shares = accuracies[:, :, 2 * place : 2 * place + 2]  # [replicates, present classes, 2]
        seen, unseen = shares[:, : len(of_seen), 1], shares[:, len(of_seen) :]
        kept = _figures(unseen[:, :, 0], seen, unseen[:, :, 1])
        rows = np.arange(REPLICATES)[:, None]
        again = unseen[rows, drawn[1]]
        found[source] = kept, _figures(again[:, :, 0], seen[rows, drawn[0]], again[:, :, 1])
    return found


def _correct(decided: Decisions, gamma: float) -> tuple[Floats, Floats]:
    among_all = np.where(gamma <= decided.breaks, decided.seen, decided.unseen)
    return (decided.unseen == decided.labels).astype(float), (among_all == decided.labels).astype(float)


def _resampled(labels: NDArray[np.int64], correct: Floats, n_classes: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return the share of correct images in each replicate's draw of each class, [replicates, present, F], and the present."""
    present = np.flatnonzero(np.bincount(labels, minlength=n_classes))
    shares = np.empty((REPLICATES, len(present), correct.shape[1]))
    replicates = np.arange(REPLICATES)[:, None]
    for place, label in enumerate(present):
        mine = correct[labels == label]
        draws = (uniform(BOOTSTRAP, IMAGES, replicates, int(label), np.arange(len(mine))) * len(mine)).astype(np.int64)
        times = np.bincount((draws + replicates * len(mine)).ravel(), minlength=REPLICATES * len(mine))
        shares[:, place] = times.reshape(REPLICATES, -1) @ mine / len(mine)
    return shares, present


def _drawn(classes: int, stream: int) -> NDArray[np.int64]:
    draws: NDArray[np.int64] = (uniform(BOOTSTRAP, stream, np.arange(REPLICATES)[:, None], np.arange(classes)) * classes).astype(
        int
    )
    return draws


def _figures(zsl: Floats, seen: Floats, unseen: Floats) -> Intervals:
    """Return the intervals of shares of classes, each [replicates, classes]."""
    alone = _interval(_means(zsl))
    if seen.shape[1] == 0:
        return Intervals(zsl=alone)
    sides = _means(seen), _means(unseen)
    both = _interval(np.asarray(harmonic(*sides)))
    return Intervals(zsl=alone, seen=_interval(sides[0]), unseen=_interval(sides[1]), harmonic=both)


def _means(shares: Floats) -> Floats:
    """Return the means over classes, [replicates]; 0 where there is no class, as the figures themselves."""
    return np.asarray(shares.sum(1) / max(1, shares.shape[1]))


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values, SHARES)
    return Interval(low=float(low), high=float(high))
