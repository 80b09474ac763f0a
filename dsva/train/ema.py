"""A running mean of the weights (Polyak and Juditsky 1992), which generalises better than the last ones."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dsva.train.engine import Engine


class Ema:
    """Exponential moving average of a model's parameters; each rank averages what it holds of them."""

    def __init__(self, engine: Engine, decay: float) -> None:
        self._engine, self._decay = engine, decay
        self._parameters = dict(engine.plain.named_parameters())
        self._mean: dict[str, Tensor] = {name: engine.shard(p).clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after `step` into the mean; early steps count more, so that the start is forgotten."""
        decay = min(self._decay, (step + 1) / (step + 10))
        for name, parameter in self._parameters.items():
            self._mean[name].lerp_(self._engine.shard(parameter), 1 - decay)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the mean of every parameter whole as (name, tensor); every rank calls this."""
        for name, parameter in self._parameters.items():
            yield name, self._engine.whole(parameter, self._mean[name])

    def restore(self, saved: Iterable[tuple[str, Tensor]]) -> None:
        """Put back what `weights` yielded."""
        for name, mean in saved:
            self._mean[name].copy_(self._engine.cut(self._parameters[name], mean))

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
            parameter.data, self._mean[name] = self._mean[name], parameter.data
