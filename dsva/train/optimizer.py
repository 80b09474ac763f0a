"""AdamW, its parameter groups, and what of it is saved."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dsva.config import OptimizerConfig


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over four groups: backbone or heads, with weight decay or without.

    Matrices decay; vectors (biases, norms) and the prototypes, which are class-like embeddings, do not.
    Each group also keeps its peak learning rate under `peak`, and whether it is `of_backbone`.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and "prototypes" not in name and "embedding" not in name
        groups.setdefault((name.startswith("backbone."), decays), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "of_backbone": of_backbone,
            "peak": config.backbone_lr if of_backbone else config.lr,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (of_backbone, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
    return torch.optim.AdamW(settings, lr=config.lr, betas=config.betas)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to its peak times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield Adam's state of every parameter that has one as (parameter name/state name, tensor)."""
    for name, parameter in model.named_parameters():
        for state, value in sorted(optimizer.state.get(parameter, {}).items()):
            yield f"{name}/{state}", value


def restore_moments(model: nn.Module, optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """Put back what `moments` yielded."""
    parameters = dict(model.named_parameters())
    for key, value in saved.items():
        name, state = key.rsplit("/", 1)
        target = parameters[name]
        # Adam keeps its step count on the CPU, its moments beside the parameter.
        optimizer.state[target][state] = value.clone() if state == "step" else value.to(target.device)
