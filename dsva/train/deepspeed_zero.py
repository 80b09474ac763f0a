"""DeepSpeed's ZeRO (Rajbhandari et al. 2020) in the place of DDP: optimizer state, gradients and weights cut over ranks.

Same training as DDP: the same AdamW on the same float32 weights, gradients that are sums over the ranks.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from dsva.config import Config
from dsva.json_files import read_json
from dsva.train.engine import Engine
from shards.errors import UserError

# Elements that are sent at once, 32 MiB as in DDP. DeepSpeed's defaults are for language models: 2 GiB filled anew every step.
BUCKETS = {name: 1 << 23 for name in ("reduce_bucket_size", "allgather_bucket_size", "stage3_prefetch_bucket_size")}
MOMENTS = ("exp_avg", "exp_avg_sq")
OURS = ("optimizer", "scheduler", "data_efficiency", "compression_training", "checkpoint")


def deepspeed_settings(config: Config) -> Callable[[int], dict[str, Any]] | None:
    """Return what gives DeepSpeed's settings for a number of processes; none where it is not the engine.

    Only what would contradict the configuration is checked here: the keys are DeepSpeed's, which checks them by pydantic itself.

    Raises:
        UserError: DeepSpeed is not installed, or the user's file contradicts the configuration.
    """
    if not config.train.engine.startswith("zero"):
        if config.train.deepspeed:
            raise UserError(f"train.deepspeed={config.train.deepspeed} needs train.engine=zero1, zero2 or zero3: set one of them")
        return None
    if find_spec("deepspeed") is None:
        raise UserError(f"train.engine={config.train.engine} needs DeepSpeed: install dsva[deepspeed], or take train.engine=ddp")
    theirs = read_json(config.train.deepspeed)[0] if config.train.deepspeed else {}
    if given := [key for key in OURS if key in theirs]:
        raise UserError(f"{config.train.deepspeed}: {given[0]!r} is not DeepSpeed's business here: remove it")
    return partial(_settings, config, theirs)


def _settings(config: Config, theirs: dict[str, Any], world_size: int) -> dict[str, Any]:
    accumulation, batch_size = config.train.accumulation, config.data.batch_size
    # Parts of a batch may differ by one image; DeepSpeed wants one number, and uses it for nothing but its own checks.
    micro = -(-batch_size // (world_size * accumulation))
    ours = {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accumulation,
        "train_batch_size": micro * accumulation * world_size,
        "gradient_clipping": config.optimizer.clip_norm,
        "zero_optimization": {"stage": int(config.train.engine[-1])},
        # Both would round the weights; the engine has the forward pass autocast instead, as under DDP.
        "bf16": {"enabled": False},
        "fp16": {"enabled": False},
        "torch_autocast": {"enabled": False},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    merged = _merged(theirs, ours, f"{config.train.deepspeed}: ")
    merged["zero_optimization"] = BUCKETS | merged["zero_optimization"]
    return {"steps_per_print": 1 << 31} | merged


def _merged(theirs: dict[str, Any], ours: dict[str, Any], place: str) -> dict[str, Any]:
    merged = dict(theirs)
    for key, value in ours.items():
        given = theirs.get(key, "auto")
        if isinstance(value, dict):
            inner = {} if given == "auto" else given
            if not isinstance(inner, dict):
                raise UserError(f"{place}{key} is {json.dumps(given)}, not an object: correct it")
            merged[key] = _merged(inner, value, f"{place}{key}.")
            continue
        if given not in ("auto", value):
            raise UserError(f"{place}{key} is {json.dumps(given)}, the configuration says {json.dumps(value)}: remove it there")
        merged[key] = value
    return merged


class ZeroEngine(Engine):
    """One process's part of a model and optimizer that are cut over all processes.

    ZeRO-1 cuts the optimizer's state, ZeRO-2 the gradients too, ZeRO-3 the weights too.
    """

    def _wrapped(self, config: Config) -> nn.Module:
        self._stage = int(config.train.engine[-1])
        if self._stage == 3:
            self._keep_copy()
        self._autocast(config, cached=self._stage < 3)
        group_of = {id(p): place for place, group in enumerate(self.optimizer.param_groups) for p in group["params"]}
        self._group = {name: group_of[id(p)] for name, p in self.plain.named_parameters()}
        wrapped: nn.Module
        wrapped, _ = self._ranks.accelerator.prepare(self.plain, self.optimizer)
        self._deepspeed: Any = wrapped
        self._check(config)
        self._begin_moments()
        return wrapped

    def _check(self, config: Config) -> None:
        """DeepSpeed took what it was given, rather than a default of its own."""
        engine, train = self._deepspeed, config.train
        assert engine.zero_optimization_stage() == self._stage
        assert engine.gradient_accumulation_steps() == train.accumulation
        assert 0 <= engine.train_batch_size() - config.data.batch_size < self._ranks.world_size * train.accumulation
        assert engine.gradient_clipping() == config.optimizer.clip_norm
        assert not engine.bfloat16_enabled()
        assert not engine.fp16_enabled()
        assert engine.basic_optimizer is self.optimizer
        assert all(group["betas"] == config.optimizer.betas for group in self.optimizer.param_groups)
        assert all(p.dtype == torch.float32 for p in self.plain.parameters())

    def _flats(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (parameter group, flat float32 part of it that this rank steps)."""
        zero = self._deepspeed.optimizer
        if self._stage == 3:
            yield from ((zero.sub_group_to_group_id[i], flat) for i, flat in enumerate(zero.fp32_partitioned_groups_flat))
        else:
            yield from enumerate(zero.single_partition_of_fp32_groups)

    def _begin_moments(self) -> None:
        # DeepSpeed 0.19 links parameters to their moments after the first step of the FIRST group, when the other groups have
        # none yet, and so never finds theirs. They have to be there before.
        for _, flat in self._flats():
            zeros = {name: torch.zeros_like(flat) for name in MOMENTS}
            self.optimizer.state[flat] = {"step": torch.zeros((), device=flat.device), **zeros}
        if self._stage < 3:
            self._deepspeed.optimizer._lazy_init_hp_params_optimizer_state()

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        """Return the context of one backward pass; the optimizer steps after the `last` one."""
        self._deepspeed.set_gradient_accumulation_boundary(last)
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this rank's share of the global loss; the mean over ranks is undone."""
        self._deepspeed.backward(self._scaled(loss), scale_wrt_gas=False)

    def apply(self) -> Tensor:
        """Clip, step the optimizer, drop the gradients; return the gradient's norm before clipping.

        Where the norm is not finite, DeepSpeed changes nothing by itself, and calls the norm infinite.
        """
        self._deepspeed.step()
        norm = torch.as_tensor(self._deepspeed.get_global_grad_norm())
        assert bool(norm.isfinite()) == self._deepspeed.was_step_applied(), "DeepSpeed decides otherwise on bad steps"
        return norm

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """Yield Adam's state whole as (parameter name/state name, tensor); every rank calls this."""
        from deepspeed.utils import safe_get_full_optimizer_state  # noqa: PLC0415

        steps = {group: self.optimizer.state[flat]["step"] for group, flat in self._flats()}
        for name, parameter in self.plain.named_parameters():
            if not (step := steps[self._group[name]]):
                continue  # no step was taken: torch has no moments then either
            for state in MOMENTS:
                yield f"{name}/{state}", safe_get_full_optimizer_state(parameter, state)
            yield f"{name}/step", step.clone()

    def restore_moments(self, saved: Iterable[tuple[str, Tensor]]) -> None:
        """Put back what `moments` yielded, in this or any other engine."""
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state  # noqa: PLC0415

        parameters = dict(self.plain.named_parameters())
        steps: dict[int, Tensor] = {}
        for key, value in saved:
            name, state = key.rsplit("/", 1)
            if state == "step":
                steps[self._group[name]] = value
            elif self._stage == 3:
                # DeepSpeed's own way to set the whole fails where the ranks' shards are not equally long.
                safe_set_local_optimizer_state(parameters[name], self.cut(parameters[name], value), state)
            else:
                safe_set_full_optimizer_state(parameters[name], value, state)
        for group, flat in self._flats():
            self.optimizer.state[flat]["step"].fill_(float(steps.get(group, 0.0)))

    def forget_moments(self) -> None:
        """Let Adam begin anew."""
        for _, flat in self._flats():
            for value in self.optimizer.state[flat].values():
                value.zero_()

    def shard(self, parameter: nn.Parameter) -> Tensor:
        """Return what this rank holds of a parameter."""
        if self._stage < 3:
            return parameter.detach()
        from deepspeed.utils import safe_get_local_fp32_param  # noqa: PLC0415

        local: Tensor = safe_get_local_fp32_param(parameter)
        return local.detach()

    def whole(self, parameter: nn.Parameter, shard: Tensor) -> Tensor:
        """Put the ranks' shards of a parameter, or of something of its shape, together; every rank calls this."""
        if self._stage < 3:
            return shard
        gathered = shard.new_empty(shard.numel() * self._ranks.world_size)
        dist.all_gather_into_tensor(gathered, shard.contiguous())
        shape: torch.Size = parameter.ds_shape  # type: ignore[attr-defined]
        return gathered[: shape.numel()].view(shape)

    def cut(self, parameter: nn.Parameter, whole: Tensor) -> Tensor:
        """Return this rank's shard of something of a parameter's shape."""
        if self._stage < 3:
            return super().cut(parameter, whole)
        size: int = parameter.ds_tensor.numel()  # type: ignore[attr-defined]
        padded = F.pad(whole.flatten(), (0, size * self._ranks.world_size - whole.numel()))
        return padded[self._ranks.rank * size :][:size].to(self._ranks.device)
