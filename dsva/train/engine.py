"""The model and the optimizer as one process trains them: wrapped, accumulated, clipped, stepped.

The loader and the learning-rate schedule stay ours: Accelerate would repeat samples and step schedules twice.
"""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from dsva.config import Config
from dsva.model.dsva import DSVA
from dsva.ranks import Ranks
from dsva.train.optimizer import build_optimizer


def make_deterministic(seed: int) -> None:
    """Same configuration, same result, bit for bit on one device type."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for uninitialised reads, which costs time
    torch.manual_seed(seed)


class Engine:
    """The wrapped model and optimizer of one process.

    Attributes:
        model: the wrapped model; call it for training.
        plain: the model itself; its parameters are the wrapped one's.
        optimizer: AdamW.
    """

    def __init__(self, model: DSVA, config: Config, ranks: Ranks) -> None:
        self._ranks = ranks
        self.plain: DSVA = model.to(ranks.device)
        self.optimizer: torch.optim.Optimizer = build_optimizer(self.plain, config.optimizer)
        self.model: nn.Module = ranks.accelerator.prepare_model(self.plain)
        self._clip_norm = config.optimizer.clip_norm

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        """Return the context of one backward pass; gradients are exchanged in the `last` of a step only."""
        context: AbstractContextManager[object] = nullcontext() if last else self._ranks.accelerator.no_sync(self.model)
        return context

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this rank's share of the global loss; DDP's mean over ranks is undone."""
        self._ranks.accelerator.backward(loss * self._ranks.world_size)

    def apply(self) -> Tensor:
        """Clip, step the optimizer, drop the gradients; return the gradient's norm before clipping."""
        parameters = [p for p in self.plain.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._clip_norm or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm
