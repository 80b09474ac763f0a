"""The model and the optimizer as one process trains them: wrapped, accumulated, clipped, stepped.

The loader and the learning-rate schedule stay ours: Accelerate would repeat samples and step schedules twice.
"""

import copy
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from dsva.config import Config
from dsva.model.dsva import DSVA
from dsva.processes.ranks import Ranks
from dsva.train.optimizer import build_optimizer, moments, restore_moments
from shards.errors import UserError


class MeanWeights(Protocol):
    """A mean of the weights that a model is evaluated with, see `dsva.train.ema`."""

    def weights(self) -> Iterator[tuple[str, Tensor]]: ...  # noqa: D102

    def in_place_of(self, model: nn.Module) -> AbstractContextManager[None]: ...  # noqa: D102


def make_deterministic(seed: int) -> None:
    """Same configuration, same result, bit for bit on one device type."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # That would also fill fresh memory, a check for uninitialised reads that costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)


@contextmanager
def torch_settings_restored() -> Iterator[None]:
    """Put back, after the block, what `make_deterministic` and a training change of torch for all of the process."""
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    on_gpu: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if on_gpu else ()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn)
            torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


class Engine:
    """The wrapped model and optimizer of one process that holds all of both: alone, or under DDP.

    Attributes:
        model: the wrapped model; call it for training.
        plain: the model itself; its parameters are the wrapped one's.
        optimizer: AdamW.
    """

    def __init__(self, model: DSVA, config: Config, ranks: Ranks) -> None:
        """Wrap a model that has the weights to begin with.

        Raises:
            UserError: there are more processes than images.
        """
        parts = ranks.world_size * config.train.accumulation
        if config.data.batch_size < parts:
            raise UserError(
                f"data.batch_size={config.data.batch_size} is less than {ranks.world_size} processes times "
                f"train.accumulation={config.train.accumulation}: raise it, or start fewer processes"
            )
        assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}, "only parameters are saved"
        self._ranks = ranks
        self._copy: DSVA | None = None
        self.plain: DSVA = model.to(ranks.device)
        self.optimizer: torch.optim.Optimizer = build_optimizer(self.plain, config.optimizer)
        self.model: nn.Module = self._wrapped(config)
        self._clip_norm = config.optimizer.clip_norm

    def _wrapped(self, config: Config) -> nn.Module:
        wrapped: nn.Module = self._ranks.accelerator.prepare_model(self.plain)
        return wrapped

    def _keep_copy(self) -> None:
        """Keep a model to evaluate: a forward pass of cut weights needs all ranks, which evaluate different numbers of batches."""
        self._copy = copy.deepcopy(self.plain).to("cpu")

    def _autocast(self, config: Config, cached: bool) -> None:
        """Have the forward pass autocast, as Accelerate does under DDP; whole weights may be `cached` in bf16 meanwhile."""
        if config.train.precision == "bf16":
            autocast = torch.autocast(self._ranks.device.type, torch.bfloat16, cache_enabled=cached)
            self.plain.forward = autocast(self.plain.forward)  # type: ignore[method-assign]

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        """Return the context of one backward pass; gradients are exchanged in the `last` of a step only."""
        context: AbstractContextManager[object] = nullcontext() if last else self._ranks.accelerator.no_sync(self.model)
        return context

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this rank's share of the global loss; the mean over ranks is undone."""
        self._ranks.accelerator.backward(self._scaled(loss))

    def _scaled(self, loss: Tensor) -> Tensor:
        # A loss that is not finite can have a finite gradient. Multiplied by NaN, that tells all ranks with the exchange of
        # gradients; multiplied by 1 it keeps its bits.
        return loss * torch.where(loss.detach().isfinite(), float(self._ranks.world_size), float("nan"))

    def apply(self) -> Tensor:
        """Clip, step the optimizer, drop the gradients; return the gradient's norm before clipping.

        Where the norm is not finite, nothing is changed. All ranks have the same gradient, and so the same norm.
        """
        parameters = [p for p in self.plain.parameters() if p.grad is not None]
        norm = self._clip(parameters)
        # The host waits for the device here, once a step. Deciding on the device (torch.where over all weights and moments, or a
        # fused AdamW's found_inf) would save that wait, but a loop of several ranks waits at the end of a step anyway, to
        # agree on signals, and DeepSpeed decides on the host too.
        if norm.isfinite():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _clip(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, self._clip_norm or float("inf"))

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every parameter whole as (name, tensor); every rank calls this."""
        for name, parameter in self.plain.named_parameters():
            yield name, self.whole(parameter, self.shard(parameter))

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """Yield Adam's state whole as (parameter name/state name, tensor); every rank calls this."""
        return moments(self.plain, self.optimizer)

    def restore_moments(self, saved: Iterable[tuple[str, Tensor]]) -> None:
        """Put back what `moments` yielded, in this or any other engine."""
        restore_moments(self.plain, self.optimizer, saved)

    def forget_moments(self) -> None:
        """Let Adam begin anew."""
        self.optimizer.state.clear()

    def shard(self, parameter: nn.Parameter) -> Tensor:
        """Return what this rank holds of a parameter."""
        return parameter.detach()

    def whole(self, parameter: nn.Parameter, shard: Tensor) -> Tensor:
        """Put the ranks' shards of a parameter, or of something of its shape, together; every rank calls this."""
        return shard

    def cut(self, parameter: nn.Parameter, whole: Tensor) -> Tensor:
        """Return this rank's shard of something of a parameter's shape."""
        return whole.to(self._ranks.device)

    @contextmanager
    def evaluated(self, ema: MeanWeights | None) -> Iterator[DSVA]:
        """Give the model as it is to be evaluated, with the mean weights where there are any; every rank calls this."""
        if self._copy is None:
            with ema.in_place_of(self.plain) if ema else nullcontext():
                yield self.plain
            return
        parameters = dict(self._copy.named_parameters())
        with torch.no_grad():
            for name, tensor in ema.weights() if ema else self.weights():
                parameters[name].copy_(tensor)
        yield self._copy.to(self._ranks.device)
        self._copy.to("cpu")
