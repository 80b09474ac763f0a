"""Accelerate, and what it wraps: one process or many, CPU or GPU, fp32 or bf16.

The environment decides how many processes there are (torchrun, accelerate launch and srun all set it).
The loader and the learning-rate schedule stay ours: Accelerate would repeat samples and step schedules twice.
"""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from dsva.config import Config
from dsva.train.optimizer import build_optimizer


def make_deterministic(seed: int) -> None:
    """Same configuration, same result, bit for bit on one device type."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)


class Engine:
    """The wrapped model and optimizer of one process.

    Attributes:
        rank: of this process.
        world_size: number of processes.
        device: where the model is.
        model: the wrapped model; call it for training.
        plain: the model itself; its parameters are the wrapped one's.
        optimizer: AdamW.
    """

    def __init__(self, model: nn.Module, config: Config) -> None:
        # A frozen backbone gets no gradients in the heads-only steps; DDP has to be told so.
        unused = DistributedDataParallelKwargs(find_unused_parameters=config.train.heads_only_steps > 0)
        self._accelerator = Accelerator(mixed_precision=config.train.precision, kwargs_handlers=[unused])
        self.rank: int = self._accelerator.process_index
        self.world_size: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        self.plain = model.to(self.device)
        optimizer = build_optimizer(self.plain, config.optimizer)
        self.model: nn.Module = self._accelerator.prepare_model(self.plain)
        self.optimizer: torch.optim.Optimizer = optimizer
        self._clip_norm = config.optimizer.clip_norm

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        """Return the context of one backward pass; gradients are exchanged in the `last` of a step only."""
        context: AbstractContextManager[object] = nullcontext() if last else self._accelerator.no_sync(self.model)
        return context

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this rank's share of the global loss; DDP's mean over ranks is undone."""
        self._accelerator.backward(loss * self.world_size)

    def apply(self) -> Tensor:
        """Clip, step the optimizer, drop the gradients; return the gradient's norm before clipping."""
        parameters = [p for p in self.plain.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._clip_norm or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all ranks."""
        reduced: Tensor = self._accelerator.reduce(values, reduction="sum")
        return reduced

    def anyone(self, flag: int) -> int:
        """Return the largest `flag` of all ranks, so that all decide alike."""
        if self.world_size == 1:
            return flag
        gathered: Tensor = self._accelerator.gather(torch.tensor([flag], device=self.device))
        return int(gathered.max())

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self._accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the process group, if there is one."""
        self._accelerator.end_training()
