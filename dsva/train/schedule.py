"""The learning rate: a function of the step, so that it needs no state.

It is a share of the peaks, one for each group of parameters, which `dsva.train.optimizer.set_learning_rate` sets.
"""

import math

from dsva.config import OptimizerConfig, TrainConfig


def learning_rate_factor(step: int, optimizer: OptimizerConfig, train: TrainConfig) -> float:
    """Return what the peak learning rates are multiplied by at `step` (0 is the first)."""
    warm = min(1.0, (step + 1) / optimizer.warmup_steps) if optimizer.warmup_steps else 1.0
    if optimizer.schedule == "constant":
        return warm
    if optimizer.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * step / train.steps))
    if step < train.heads_only_steps:
        return warm
    # Published code: heads at 1e-4 in epochs 0-4, then everything at 1e-6 * 0.9^(epoch // 10).
    return warm * 0.01 * 0.9 ** (step // optimizer.epoch_steps // 10)
