"""Linear maps from frozen image features to attributes, in closed form: what DSVA has to beat.

Hyperparameters are chosen by classes: thirds of the SEEN classes are held out in turn, and the mean top-1 among the held
classes decides. No image or row of an unseen class takes part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
GRID = tuple(10.0**power for power in range(3, -4, -1))  # Romera-Paredes and Torr 2015; the strongest first, which wins ties
FOLDS = 3


@dataclass(frozen=True, eq=False)
class Gram:
    """What the closed forms need of training images: X'X in its eigenvectors, and the sum of features of each class.

    Attributes:
        vectors: eigenvectors of X'X, columns of [D, D].
        values: eigenvalues, [D].
        sums: of the features of each class, [C, D].
        counts: images of each class, [C].
    """

    vectors: Floats
    values: Floats
    sums: Floats
    counts: Floats

    @classmethod
    def of(cls, features: Floats, labels: Places, n_classes: int) -> "Gram":
        """Sum up features [N, D] with classes [N]."""
        values, vectors = np.linalg.eigh(features.T @ features)
        sums = np.stack([features[labels == label].sum(0) for label in range(n_classes)])
        return cls(vectors, np.maximum(values, 0), sums, np.bincount(labels, minlength=n_classes).astype(np.float64))

    def solved(self, wanted: Floats, strength: float) -> Floats:
        """Return (X'X + strength N I)^-1 wanted, for wanted [D, M]; in units of N, a strength suits any number of images."""
        scaled = (self.vectors.T @ wanted) / (self.values + strength * self.counts.sum())[:, None]
        return np.asarray(self.vectors @ scaled)


def ridge(gram: Gram, rows: Floats, strength: float) -> Floats:
    """Return the map W [D, K] that minimises |X W - A_y|^2 + strength N |W|^2; rows: [C, K] of the training classes."""
    return gram.solved(gram.sums.T @ rows, strength)


def ridge_scores(features: Floats, weights: Floats, rows: Floats) -> Floats:
    """Return the cosines [N, C] of predicted attributes with rows [C, K]."""
    predicted = features @ weights
    lengths = np.linalg.norm(predicted, axis=1, keepdims=True) * np.linalg.norm(rows, axis=1)
    return np.asarray(predicted @ rows.T / np.maximum(lengths, 1e-12))


def eszsl(gram: Gram, rows: Floats, strength: float, row_strength: float) -> Floats:
    """Return V = (X'X + strength N I)^-1 X'Y S (S'S + row_strength I)^-1, [D, K] (Romera-Paredes and Torr 2015).

    Y is 1 for an image's class and -1 for the others; rows S: [C, K] of the training classes.
    """
    # X'Y of +-1 labels: twice the class's own sum less the sum over all.
    signed = 2 * gram.sums.T - gram.sums.sum(0)[:, None]
    inverse = np.linalg.inv(rows.T @ rows + row_strength * np.eye(rows.shape[1]))
    return gram.solved(signed @ rows, strength) @ inverse


def eszsl_scores(features: Floats, weights: Floats, rows: Floats) -> Floats:
    """Return x V s for features [N, D] and rows [C, K], [N, C]."""
    return np.asarray(features @ weights @ rows.T)


Fit = Callable[..., Floats]
METHODS: dict[str, tuple[Fit, Fit, int]] = {"ridge": (ridge, ridge_scores, 1), "eszsl": (eszsl, eszsl_scores, 2)}


def fitted(method: str, features: Floats, labels: Places, rows: Floats) -> tuple[Floats, tuple[float, ...]]:
    """Choose a method's strengths on held-out training classes, then fit it to all of them.

    Args:
        method: of METHODS.
        features: of training images, [N, D].
        labels: their classes, places in `rows`, [N].
        rows: of the training classes, [C, K]; no other class.

    Returns:
        The weights, [D, K], and the strengths that were chosen.
    """
    fit, score, strengths = METHODS[method]
    grid = list(product(GRID, repeat=strengths))
    accuracies = np.zeros(len(grid))
    for train, held, classes in _folds(labels, len(rows)):
        gram = Gram.of(features[train], labels[train], len(rows))
        kept = np.setdiff1d(np.arange(len(rows)), classes)
        part = Gram(gram.vectors, gram.values, gram.sums[kept], gram.counts[kept])
        for place, chosen in enumerate(grid):
            scores = score(features[held], fit(part, rows[kept], *chosen), rows[classes])
            right = classes[scores.argmax(1)] == labels[held]
            accuracies[place] += np.mean([right[labels[held] == label].mean() for label in np.unique(labels[held])])
    # Rounded, so that a tie does not hang on the last bit.
    best = grid[int(np.round(accuracies, 9).argmax())]
    return fit(Gram.of(features, labels, len(rows)), rows, *best), best


def _folds(labels: Places, n_classes: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_], Places]]:
    """Yield training images, held images and held classes of each third of the classes; none where there are too few."""
    for fold in range(FOLDS if n_classes >= 2 * FOLDS else 0):
        classes = np.arange(fold, n_classes, FOLDS)
        held = np.isin(labels, classes)
        yield ~held, held, classes
