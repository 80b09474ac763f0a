"""From embeddings to rows of attributes: arithmetic on arrays."""

import numpy as np
from numpy.typing import NDArray

from dsva.protocol.table_provenance import Rows

Floats = NDArray[np.float64]
CONSTANT = 1e-9
# Strengths of the ridge, in units of the class prompts' mean variance.
RIDGES = tuple(10.0**power for power in range(-4, 4))


def predicted(texts: Floats, rows: Floats, others: Floats) -> Floats:
    """Predict the rows of classes from their class prompts, as the seen classes' rows follow from theirs.

    Ridge regression with a free mean, by kernels, so that few classes and many dimensions are cheap. Its strength is
    the one of `RIDGES` with the least squared error when each seen class in turn is left out, which has a closed form
    (Allen 1974, PRESS): nothing but the seen classes decides.

    Args:
        texts: embeddings of the seen classes' prompts, [S, E].
        rows: of the seen classes, [S, K].
        others: embeddings of the other classes' prompts, [U, E].

    Returns:
        [U, K].
    """
    centre, mean = texts.mean(0), rows.mean(0)
    centred, targets = texts - centre, rows - mean
    kernel = centred @ centred.T
    unit = np.trace(kernel) / len(texts) or 1.0  # all alike: the mean is all there is to say
    errors = [left_out_error(kernel, targets, ridge * unit) for ridge in RIDGES]
    ridge = RIDGES[int(np.argmin(errors))] * unit
    weights = np.linalg.solve(kernel + ridge * np.eye(len(texts)), targets)
    return np.asarray(mean + (others - centre) @ centred.T @ weights)


def left_out_error(kernel: Floats, targets: Floats, ridge: float) -> float:
    """Return the mean squared error of each class's targets [S, K] when the other classes predict them."""
    smoother = kernel @ np.linalg.inv(kernel + ridge * np.eye(len(kernel)))
    leverage = np.diag(smoother) + 1 / len(kernel)
    return float(np.mean(((targets - smoother @ targets) / (1 - leverage)[:, None]) ** 2))


def finished(rows: Floats, kind: Rows, seen: slice) -> NDArray[np.float32]:
    """Return rows [C, K] as they are, standardised by mean and deviation of the `seen` ones, or divided by their length.

    An attribute that is the same in all seen classes becomes 0.
    """
    if kind == "standardised":
        mean, deviation = rows[seen].mean(0), rows[seen].std(0)
        rows = np.where(deviation > CONSTANT, (rows - mean) / np.maximum(deviation, CONSTANT), 0)
    if kind == "l2":
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), CONSTANT)
    return rows.astype(np.float32)
