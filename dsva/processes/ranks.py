"""The processes of a run, through Accelerate: who am I, and what all of us agree on.

The environment decides how many there are (torchrun, accelerate launch and srun all set it), see
`dsva.processes.joining.set_environment`.
"""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DeepSpeedPlugin, DistributedDataParallelKwargs, InitProcessGroupKwargs, gather_object
from torch import Tensor

from dsva.own_process import imported_for_good
from dsva.processes.joining import join
from shards.errors import UserError

log = logging.getLogger(__name__)


class Ranks:
    """This process among the others.

    Attributes:
        accelerator: what it all goes through.
        rank: of this process.
        world_size: number of processes.
        device: of this process.
    """

    def __init__(
        self,
        precision: str = "no",
        unused_parameters: bool = False,
        deepspeed: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        """Join the other processes, in the block of `set_environment`.

        Args:
            precision: of the forward pass, "no" or "bf16".
            unused_parameters: whether some steps leave parameters without a gradient, which DDP has to be told.
            deepspeed: from the number of processes, DeepSpeed's settings; none trains with DDP.

        Raises:
            UserError: the environment contradicts itself.
        """
        self._deepspeed = deepspeed is not None
        world_size = join(os.environ, alone=self._deepspeed)
        if deepspeed:
            # Its messages go where it finds standard output when it is imported, which is for answers.
            with imported_for_good(), redirect_stdout(sys.stderr):
                import deepspeed as package  # noqa: PLC0415 (an extra)

            # Ranks that wait in shared memory for one that was killed would wait for ever; gloo notices.
            package.ops.__compatible_ops__["deepspeed_shm_comm"] = False
            # Accelerate's precision would store the weights in bf16; the engine has them autocast, as DDP does.
            settings = deepspeed(world_size)
            plugin = DeepSpeedPlugin(hf_ds_config=settings)
            # Without the backend's name Accelerate takes DeepSpeed's CPU processes for lone ones.
            group = InitProcessGroupKwargs(backend=torch.distributed.get_backend())
            steps = settings["gradient_accumulation_steps"]
            self.accelerator = Accelerator(gradient_accumulation_steps=steps, deepspeed_plugin=plugin, kwargs_handlers=[group])
        else:
            # Buffers are constants here: to send them before every forward pass would make ranks wait for nothing.
            unused = DistributedDataParallelKwargs(find_unused_parameters=unused_parameters, broadcast_buffers=False)
            # Without a GPU, Accelerate looks at the environment of torchrun only if it is told to use the CPU.
            cpu = not torch.cuda.is_available()
            self.accelerator = Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[unused])
        self.rank: int = self.accelerator.process_index
        self.world_size: int = self.accelerator.num_processes
        self.device: torch.device = self.accelerator.device
        assert self.world_size == world_size, "Accelerate counts the processes differently"
        log.debug("rank %d of %d, on %s", self.rank, self.world_size, self.device)

    def all_sum(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all ranks."""
        reduced: Tensor = self.accelerator.reduce(values, reduction="sum")
        return reduced

    def all_max(self, flag: int) -> int:
        """Return the largest `flag` of all ranks, so that all decide alike."""
        if self.world_size == 1:
            return flag
        gathered: Tensor = self.accelerator.gather(torch.tensor([flag], device=self.device))
        return int(gathered.max())

    def all_gather(self, value: Any) -> list[Any]:
        """Return what each rank gave, in rank order."""
        gathered: list[Any] = gather_object([value])
        return gathered

    def broadcast(self, value: Any) -> Any:
        """Return what rank 0 gave."""
        return self.all_gather(value)[0]

    def on_rank_0(self, work: Callable[[], object]) -> None:
        """Do something on rank 0; every rank calls this.

        Raises:
            UserError: on every rank, if `work` raises it: none is left waiting for the first.
        """
        refusal = None
        if self.rank == 0:
            try:
                work()
            except UserError as error:
                refusal = str(error)
        if refusal := self.broadcast(refusal):
            raise UserError(refusal)

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self.accelerator.wait_for_everyone()

    def forget(self) -> None:
        """Let go of the model and the optimizer, so that others can take their place."""
        self.accelerator.free_memory()

    def close(self) -> None:
        """Leave the process group, if there is one; Accelerate forgets what this was about, so that another engine may follow."""
        self.accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)
        if self._deepspeed:
            from deepspeed.comm import comm  # noqa: PLC0415
            from deepspeed.utils import groups  # noqa: PLC0415

            # The process group that they remember is gone.
            comm.cdb = groups._WORLD_GROUP = None
