"""AdamW, its parameter groups, and what of it is saved."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dsva.config import OptimizerConfig

BACKBONE, NORM, HEADS = "backbone", "norm", "heads"


class PartwiseAdamW(torch.optim.AdamW):
    """AdamW that leaves idle groups alone: their weights do not decay and their moments do not fade.

    torch does so by itself where gradients are None; DeepSpeed hands over zeros.
    """

    def step(self, closure: Any = None) -> Any:
        """Step the groups that are not `idle`."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["idle"]]
        result = super().step(closure)
        self.param_groups = groups
        return result


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> PartwiseAdamW:
    """Return AdamW over groups by part (backbone, heads, the main head's norm) and with weight decay or without.

    Matrices decay; vectors (biases, norms), embeddings and the prototypes, which are embeddings too, do not.
    Each group also keeps its `part`, its peak learning rate, `peak`, and whether it is `idle`.
    """
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = BACKBONE if name.startswith("backbone.") else NORM if name.startswith("main.norm.") else HEADS
        decays = parameter.ndim > 1 and "prototypes" not in name and "embedding" not in name
        groups.setdefault((part, decays), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "part": part,
            "peak": config.backbone_lr if part == BACKBONE else config.lr,
            "weight_decay": config.weight_decay if decays else 0.0,
            "idle": False,
        }
        for (part, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
    # Fused: one pass over the memory instead of ten, which on a CPU makes the update four times as fast.
    return PartwiseAdamW(settings, lr=config.lr, betas=config.betas, fused=True)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, factor: float, frozen: Collection[str] = (), idle: Collection[str] = ()
) -> None:
    """Set every group's learning rate to its peak times `factor`, or to 0 where its part is `frozen`.

    Args:
        optimizer: as from `build_optimizer`.
        factor: of the schedule.
        frozen: parts that get a gradient in this step, but do not move.
        idle: parts that get no gradient in this step.
    """
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if group["part"] in frozen else group["peak"] * factor
        group["idle"] = group["part"] in idle


def moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield Adam's state of every parameter that has one as (parameter name/state name, tensor)."""
    for name, parameter in model.named_parameters():
        for state, value in sorted(optimizer.state.get(parameter, {}).items()):
            yield f"{name}/{state}", value


def restore_moments(model: nn.Module, optimizer: torch.optim.Optimizer, saved: Iterable[tuple[str, Tensor]]) -> None:
    """Put back what `moments` yielded."""
    parameters = dict(model.named_parameters())
    for key, value in saved:
        name, state = key.rsplit("/", 1)
        target = parameters[name]
        # A fused Adam keeps its step count beside the parameter, too. Each parameter counts for itself, hence the copy.
        optimizer.state[target][state] = value.to(target.device, copy=state == "step")
