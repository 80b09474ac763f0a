"""Whether a checkpoint belongs to a run: its configuration, its inputs, its model."""

from collections.abc import Mapping

from torch import nn

from dsva.config import Config
from dsva.runs.checkpoint import BACKBONE, EMA, MODEL, OPTIMIZER, Checkpoint, Header, backbone_sha256
from dsva.runs.checkpoint_format import LeftOut, State
from dsva.runs.identity import OPEN
from shards.errors import UserError
from shards.files import printable

STATES = ("exp_avg", "exp_avg_sq", "step")  # of Adam, all or none for each parameter


def whose(config: Config, inputs: Mapping[str, str], world_size: int, frozen: nn.Module | None) -> State:
    """Return the state that a run's checkpoints have before the first step: it says of which run they are.

    By values rather than their hash: they say what differs, and a key that a later version adds makes no run another one.

    Args:
        config: of the run.
        inputs: digests of what it is trained on.
        world_size: its processes.
        frozen: the model, if its backbone is not saved because it never moves.
    """
    identity = {
        section: {key: value for key, value in values.items() if (section, key) not in OPEN}
        for section, values in config.model_dump(mode="json").items()
    }
    return State(
        format=2,
        step=0,
        score=None,
        config=identity,
        inputs=dict(inputs),
        world_size=world_size,
        engine=config.train.engine,
        left_out=LeftOut(backbone=config.model.backbone, sha256=backbone_sha256(frozen)) if frozen else None,
        tensors={},
    )


def refuse_other(checkpoint: Checkpoint, config: Config, inputs: Mapping[str, str]) -> None:
    """Raise a UserError unless the run with this configuration, on inputs of these digests, could have written the checkpoint."""
    refuse_other_inputs(checkpoint, inputs)
    now = config.model_dump(mode="json")
    for section, values in (checkpoint.state.config or {}).items():
        for key, there in values.items():
            here = now.get(section, {}).get(key, there)
            if here != there and (section, key) not in OPEN:
                raise UserError(
                    f"{checkpoint.path} is of another run, with {section}.{key}={printable(str(there)[:80])}, not {here}: remove "
                    "it, or give the run.dir and the values of that run"
                )
    if checkpoint.step > config.train.steps:
        raise UserError(
            f"{checkpoint.path} is of step {checkpoint.step}, but the run ends at train.steps={config.train.steps}: remove it"
        )


def refuse_other_inputs(checkpoint: Checkpoint, inputs: Mapping[str, str]) -> None:
    """Raise a UserError unless the checkpoint was trained on inputs with these digests, by their configuration keys."""
    trained = checkpoint.state.inputs
    for key, now in inputs.items():
        if trained.get(key) != now:
            raise UserError(
                f"{checkpoint.path} was trained with {key} of digest {trained.get(key, 'unknown')[:12]}, its content now has "
                f"{now[:12]}: give what the run began with, or another run.dir"
            )


def refuse_unfit(checkpoint: Checkpoint, config: Config, model: nn.Module) -> None:
    """Raise a UserError unless the checkpoint holds what a run with this model has: weights, moments, running mean."""
    weights = {name: Header("F32", tuple(tensor.shape)) for name, tensor in model.state_dict().items()}
    if left_out := checkpoint.state.left_out:
        if left_out.sha256 != backbone_sha256(model):
            raise UserError(
                f"{checkpoint.path} was trained on the frozen backbone {left_out.backbone}, which now holds other weights: "
                "put back what it held"
            )
        weights = {name: header for name, header in weights.items() if not name.startswith(BACKBONE)}
    if _of_kind(checkpoint, MODEL) != weights:
        raise UserError(
            f"{checkpoint.path} is of another model than the configuration says: give the attribute table and model it had"
        )
    if _of_kind(checkpoint, EMA) != (weights if config.train.ema else {}):
        raise UserError(f"{checkpoint.path} does not hold the running mean of train.ema={config.train.ema}: {_MEND}")
    if wrong := _wrong_moment(checkpoint, weights):
        raise UserError(f"{checkpoint.path} does not hold the optimizer's moments of its step ({wrong}): {_MEND}")


_MEND = "remove it, or put back what it was"


def _wrong_moment(checkpoint: Checkpoint, weights: Mapping[str, Header]) -> str:
    """Return what is wrong with Adam's moments; empty if nothing."""
    there = _of_kind(checkpoint, OPTIMIZER)
    expected: dict[str, Header] = {}
    for parameter in {key.rpartition("/")[0] for key in there}:
        if parameter not in weights:
            return f"{parameter or 'a nameless one'} is no weight of the model"
        shapes = (weights[parameter].shape, weights[parameter].shape, ())
        expected |= {f"{parameter}/{state}": Header("F32", shape) for state, shape in zip(STATES, shapes, strict=True)}
    if there != expected:
        return "some are missing, too many or of another shape"
    # Only where all steps since the optimizer began were bad has it nothing to remember.
    course = checkpoint.state.course
    if not there and checkpoint.step and not (course.skipped or course.rollbacks):
        return "there are none"
    steps = ((name, float(tensor)) for name, tensor in checkpoint.tensors(OPTIMIZER, "/step"))
    return next((f"{name} is {step}" for name, step in steps if step not in range(1, checkpoint.step + 1)), "")


def _of_kind(checkpoint: Checkpoint, kind: str) -> dict[str, Header]:
    return {name.removeprefix(f"{kind}/"): h for name, h in checkpoint.headers.items() if name.startswith(f"{kind}/")}
