"""A running mean of the weights (Polyak and Juditsky 1992), which generalises better than the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a model's parameters.

    Attributes:
        mean: by parameter name.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.mean: dict[str, Tensor] = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take the weights after `step` into the mean; early steps count more, so that the start is forgotten."""
        decay = min(self._decay, (step + 1) / (step + 10))
        for name, parameter in model.named_parameters():
            self.mean[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Give the model the mean weights for the time of the context."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            parameter.data, self.mean[name] = self.mean[name], parameter.data
