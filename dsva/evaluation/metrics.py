"""From class scores to zero-shot figures: arithmetic on arrays, exact and without a model.

Classes are places in one list, the seen ones before the unseen ones. Among equal scores the class with the
lower place wins, so a seen class wins against an unseen one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Decisions:
    """All that the figures need to know of each image: four numbers, so that ranks need not exchange scores.

    Attributes:
        n_seen: how many classes are seen.
        n_classes: how many classes there are, C.
        labels: true class, [N].
        seen: best-scored seen class, [N].
        unseen: best-scored unseen class, [N].
        breaks: score of `seen` minus score of `unseen`, [N]. The image goes to its seen class as long as the
            gamma that is subtracted from the seen classes' scores is at most this.
    """

    n_seen: int
    n_classes: int
    labels: Places
    seen: Places
    unseen: Places
    breaks: Floats

    def zsl(self) -> NDArray[np.int64]:
        """Return the confusion counts [C, C] of unseen images among unseen classes only."""
        tested = self.labels >= self.n_seen
        return confusion(self.unseen[tested], self.labels[tested], self.n_classes)

    def gzsl(self, gamma: float) -> NDArray[np.int64]:
        """Return the confusion counts [C, C] of all images among all classes at a gamma (Chao et al. 2016)."""
        return confusion(np.where(gamma <= self.breaks, self.seen, self.unseen), self.labels, self.n_classes)


def decide(scores: NDArray[np.floating], labels: NDArray[np.integer], n_seen: int) -> Decisions:
    """Reduce scores [N, C], whose first `n_seen` columns are the seen classes, and labels [N] to decisions.

    Raises:
        UserError: a score is not finite, as those of a diverged model are.
    """
    if not np.isfinite(scores).all():
        images = int((~np.isfinite(scores)).any(axis=1).sum())
        raise UserError(f"{images} of {len(scores)} images have scores that are not finite: lower optimizer.lr, or mend the rows")
    seen, unseen = scores[:, :n_seen], scores[:, n_seen:]
    breaks = seen.max(axis=1).astype(np.float64) - unseen.max(axis=1).astype(np.float64)
    return Decisions(n_seen, scores.shape[1], labels.astype(np.int64), seen.argmax(axis=1), n_seen + unseen.argmax(axis=1), breaks)


def concatenate(parts: Sequence[Decisions], order: NDArray[np.integer]) -> Decisions:
    """Join the decisions of several batches or ranks, then put the images in `order`, [N]."""

    def joined(name: str) -> NDArray[Any]:
        values: NDArray[Any] = np.concatenate([getattr(part, name) for part in parts])[order]
        return values

    return Decisions(parts[0].n_seen, parts[0].n_classes, joined("labels"), joined("seen"), joined("unseen"), joined("breaks"))


def confusion(predicted: Places, labels: Places, n_classes: int) -> NDArray[np.int64]:
    """Count images by true class (row) and predicted class (column), [C, C]; counts of several ranks add up."""
    return np.bincount(labels * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def mean_accuracy(counts: NDArray[np.int64], rows: slice) -> float:
    """Return the mean, over some rows of a confusion matrix, of each class's share of correct images.

    A class without images does not count; where none has any the result is 0.
    """
    correct, total = counts.diagonal()[rows], counts.sum(axis=1)[rows]
    return float(np.mean(correct[total > 0] / total[total > 0])) if total.any() else 0.0


def harmonic(seen: Floats | float, unseen: Floats | float) -> Floats:
    """Return H = 2 S U / (S + U), elementwise, and 0 where both are 0 (Xian et al. 2019)."""
    total = np.add(seen, unseen)
    product: Floats = 2 * np.multiply(seen, unseen)
    return np.divide(product, total, out=np.zeros_like(product), where=total > 0)


@dataclass(frozen=True, eq=False)
class Curve:
    """S and U as step functions of gamma, known exactly everywhere.

    Attributes:
        breaks: the gammas at which S or U changes, ascending, [M].
        seen: S in the M + 1 intervals (-inf, breaks[0]], (breaks[0], breaks[1]], ..., (breaks[M-1], inf).
        unseen: U in the same intervals.
    """

    breaks: Floats
    seen: Floats
    unseen: Floats

    def at(self, gamma: float) -> tuple[float, float]:
        """Return (S, U) at a gamma."""
        place = np.searchsorted(self.breaks, gamma, side="left")
        return float(self.seen[place]), float(self.unseen[place])

    def ausuc(self) -> float:
        """Return the area under S as a function of U, over all gammas from -inf to inf (Chao et al. 2016).

        By trapezoids. A break at which only one of S and U changes makes a step, whose area is exact; where
        images of both kinds share a break, the two orders in which they could pass are averaged, as in an ROC curve.
        """
        return float(np.trapezoid(self.seen, self.unseen))

    def best(self) -> tuple[float, float]:
        """Return (gamma, H) where H is highest: the middle of the interval, of the lowest one if several tie."""
        values = harmonic(self.seen, self.unseen)
        place = int(np.argmax(np.round(values, 12)))  # rounded, so that a tie does not hang on the last bit
        if values[place] == 0:
            return 0.0, 0.0
        low, high = float(self.breaks[place - 1]), float(self.breaks[place])
        middle = low + (high - low) / 2
        return (middle if low < middle else high), float(values[place])


def curve(decisions: Decisions) -> Curve:
    """Sort the gammas at which a correct image becomes wrong (S falls) or a wrong one correct (U rises)."""
    labels = decisions.labels
    totals = np.bincount(labels, minlength=decisions.n_classes)
    present = np.where(
        labels < decisions.n_seen, np.count_nonzero(totals[: decisions.n_seen]), np.count_nonzero(totals[decisions.n_seen :])
    )
    weights = 1 / (totals[labels] * present)  # what an image adds to the mean over classes
    falls, rises = decisions.seen == labels, decisions.unseen == labels
    breaks = np.unique(decisions.breaks[falls | rises])
    places = np.searchsorted(breaks, decisions.breaks)
    fallen = np.bincount(places[falls], weights[falls], len(breaks))
    risen = np.bincount(places[rises], weights[rises], len(breaks))
    return Curve(breaks, np.append(np.cumsum(fallen[::-1])[::-1], 0.0), np.append(0.0, np.cumsum(risen)))


def chance(n_seen: int, n_unseen: int) -> dict[str, float]:
    """Return the expected figures of random scores, at gamma 0: zsl, seen, unseen, harmonic (of those two), ausuc."""
    among_all = 1 / (n_seen + n_unseen)
    return {
        "zsl": 1 / n_unseen,
        "seen": among_all,
        "unseen": among_all,
        "harmonic": among_all,
        "ausuc": 0.5 / (n_seen * n_unseen),
    }
