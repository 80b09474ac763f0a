"""The processes of a run, through Accelerate: who am I, and what all of us agree on.

The environment decides how many there are (torchrun, accelerate launch and srun all set it).
"""

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from torch import Tensor


class Ranks:
    """This process among the others.

    Attributes:
        accelerator: what it all goes through.
        rank: of this process.
        world_size: number of processes.
        device: of this process.
    """

    def __init__(self, precision: str = "no", unused_parameters: bool = False) -> None:
        """Join the other processes.

        Args:
            precision: of the forward pass, "no" or "bf16".
            unused_parameters: whether some steps leave parameters without a gradient, which DDP has to be told.
        """
        unused = DistributedDataParallelKwargs(find_unused_parameters=unused_parameters)
        self.accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[unused])
        self.rank: int = self.accelerator.process_index
        self.world_size: int = self.accelerator.num_processes
        self.device: torch.device = self.accelerator.device

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all ranks."""
        reduced: Tensor = self.accelerator.reduce(values, reduction="sum")
        return reduced

    def anyone(self, flag: int) -> int:
        """Return the largest `flag` of all ranks, so that all decide alike."""
        if self.world_size == 1:
            return flag
        gathered: Tensor = self.accelerator.gather(torch.tensor([flag], device=self.device))
        return int(gathered.max())

    def everyones(self, value: Any) -> list[Any]:
        """Return what each rank gave, in rank order."""
        gathered: list[Any] = gather_object([value])
        return gathered

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the process group, if there is one."""
        self.accelerator.end_training()
