"""torch's fully_shard (FSDP2) in the place of DDP: weights, gradients and optimizer state cut over ranks.

Without Accelerate, which takes FSDP on CPU processes for plain DDP and would store the weights as its mixed precision says.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from dsva.config import Config
from dsva.train.engine import Engine
from dsva.train.optimizer import build_optimizer


class FsdpEngine(Engine):
    """One process's part of a model and optimizer that are cut over all processes, each weight along its first dimension."""

    def _wrapped(self, config: Config) -> nn.Module:
        self._keep_copy()
        self._autocast(config, cached=False)
        mesh = init_device_mesh(self._ranks.device.type, (self._ranks.world_size,))
        for block in self.plain.backbone.encoder.layers:
            fully_shard(block, mesh=mesh)
        fully_shard(self.plain, mesh=mesh)
        for module in self.plain.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)  # gloo knows no mean
        # The parameters are other objects now.
        self.optimizer = build_optimizer(self.plain, config.optimizer)
        self._check()
        return self.plain

    def _check(self) -> None:
        """Every weight is cut over all ranks, in float32."""
        for parameter in self.plain.parameters():
            assert isinstance(parameter, DTensor)
            assert parameter.placements == (Shard(0),)
            assert parameter.device_mesh.size() == self._ranks.world_size
            assert parameter.dtype == torch.float32

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        """Return the context of one backward pass; each exchanges its gradients, so that none is ever held whole."""
        return nullcontext()

    def _clip(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        return _whole(super()._clip(parameters))

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """Yield Adam's state whole as (parameter name/state name, tensor); every rank calls this."""
        return ((key, _whole(value)) for key, value in super().moments())

    def restore_moments(self, saved: Iterable[tuple[str, Tensor]]) -> None:
        """Put back what `moments` yielded, in this or any other engine."""
        parameters = dict(self.plain.named_parameters())

        def cut(key: str, value: Tensor) -> Tensor:
            name, state = key.rsplit("/", 1)
            return value if state == "step" else self.cut(parameters[name], value)

        super().restore_moments((key, cut(key, value)) for key, value in saved)

    def whole(self, parameter: nn.Parameter, shard: Tensor) -> Tensor:
        """Put the ranks' shards of a parameter, or of something of its shape, together; every rank calls this."""
        return _whole(shard)

    def cut(self, parameter: nn.Parameter, whole: Tensor) -> Tensor:
        """Return this rank's shard of something of a parameter's shape."""
        assert isinstance(parameter, DTensor)
        # Every rank has the same whole: nothing need be sent.
        return distribute_tensor(super().cut(parameter, whole), parameter.device_mesh, parameter.placements, src_data_rank=None)


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
