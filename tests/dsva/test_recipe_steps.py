"""Steps of a trainer: what moves and what rests in each stage, and three whole steps against arithmetic by hand. 4 s."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dsva.config import OptimizerConfig, load
from dsva.model.dsva import DSVA
from dsva.pixels import training_pixels
from dsva.protocol.experiment import Experiment
from dsva.train.optimizer import BACKBONE, HEADS, NORM, build_optimizer, set_learning_rate
from tests.helpers.drawn_set import draw_set, trainer

Array = NDArray[np.float64]
Opened = Callable[..., Experiment]
LAYER = "backbone.encoder.layers.0."
MATRICES = {
    *(f"{LAYER}self_attn.{name}_proj.weight" for name in "qkv"),
    *(f"{LAYER}{name}.weight" for name in ("self_attn.out_proj", "mlp.fc1", "mlp.fc2")),
    "main.weight",
}
NORMS = {"main.norm.weight", "main.norm.bias"}


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Those of a tiny network on a drawn set."""
    return draw_set(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def opened(overrides: list[str], tmp_path: Path) -> Opened:
    """Opens experiments on that set, in the run directory of the test."""
    (tmp_path / "empty.yaml").touch()

    def open_with(*more: str) -> Experiment:
        return Experiment.open(load(tmp_path / "empty.yaml", [*overrides, f"run.dir={tmp_path / 'RUN'}", *more]))

    return open_with


def weights(model: DSVA) -> dict[str, Array]:
    """Every weight in float64, a copy."""
    return {name: parameter.detach().double().numpy().copy() for name, parameter in model.named_parameters()}


def test_matrices_decay_and_nothing_else_does(opened: Opened) -> None:
    model = opened("model.prototype_bias=true").build_model()
    config = OptimizerConfig(lr=0.25, backbone_lr=0.125, weight_decay=0.75, betas=(0.5, 0.625))
    names = {parameter: name for name, parameter in model.named_parameters()}
    settings = {names[p]: group for group in build_optimizer(model, config).param_groups for p in group["params"]}
    assert settings.keys() == set(names.values())
    assert {name for name, group in settings.items() if group["weight_decay"] == 0.75} == MATRICES
    assert {group["weight_decay"] for name, group in settings.items() if name not in MATRICES} == {0}
    for name, group in settings.items():
        part = BACKBONE if name.startswith("backbone.") else NORM if name in NORMS else HEADS
        assert (group["part"], group["peak"]) == (part, 0.125 if part == BACKBONE else 0.25), name
        assert group["betas"] == (0.5, 0.625)


def test_learning_rates_are_shares_of_the_peaks_and_nothing_where_a_part_is_frozen(opened: Opened) -> None:
    optimizer = build_optimizer(opened().build_model(), OptimizerConfig(lr=0.5, backbone_lr=0.25))
    set_learning_rate(optimizer, 0.5)
    assert {(group["part"], group["lr"], group["idle"]) for group in optimizer.param_groups} == {
        (BACKBONE, 0.125, False),
        (HEADS, 0.25, False),
        (NORM, 0.25, False),
    }
    set_learning_rate(optimizer, 0.5, frozen=(NORM,), idle=(BACKBONE,))
    assert {(group["part"], group["lr"], group["idle"]) for group in optimizer.param_groups} == {
        (BACKBONE, 0.125, True),
        (HEADS, 0.25, False),
        (NORM, 0.0, False),
    }


def test_idle_groups_rest_under_gradients_of_zero(opened: Opened) -> None:
    """DeepSpeed hands over zeros where there is no gradient: neither decay nor fading moments may come of them."""
    model = opened().build_model()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.5, backbone_lr=0.5, weight_decay=0.5))
    for idle in ((), (BACKBONE,), ()):
        set_learning_rate(optimizer, 1.0, idle=idle)
        before = weights(model)
        for name, parameter in model.named_parameters():
            parameter.grad = torch.full_like(parameter, 0.0 if name.startswith("backbone.") and idle else 1.0)
        optimizer.step()
        moved = {name for name, value in weights(model).items() if not np.array_equal(value, before[name])}
        assert moved == {name for name in before if not (idle and name.startswith("backbone."))}
    for name, parameter in model.named_parameters():
        steps = 2 if name.startswith("backbone.") else 3
        assert int(optimizer.state[parameter]["step"]) == steps
        # Of gradients of 1: 1 - 0.9 ** steps.
        torch.testing.assert_close(optimizer.state[parameter]["exp_avg"], torch.full_like(parameter, 1 - 0.9**steps))


@pytest.mark.parametrize("norm_rests", [False, True])
@pytest.mark.parametrize("regions", [False, True])
def test_the_backbone_rests_until_the_heads_only_steps_are_over(opened: Opened, norm_rests: bool, regions: bool) -> None:
    """What rests does not decay either, nor do its moments begin; the norm may rest beside it, whose moments do begin."""
    stages = ["train.steps=4", "train.heads_only_steps=2", f"optimizer.train_head_norm={not norm_rests}"]
    learner = trainer(opened(*stages, f"model.regions={regions}"))
    model, optimizer = learner.engine.plain, learner.engine.optimizer
    before = weights(model)
    backbone = {name for name in before if name.startswith("backbone.")}
    for batch in learner.batches():
        terms = learner.step(batch)
        after = weights(model)
        moved = {name for name in after if not np.array_equal(after[name], before[name])}
        heads_only = batch.step < 2
        assert {group["part"] for group in optimizer.param_groups if group["idle"]} == ({BACKBONE} if heads_only else set())
        assert after.keys() - moved == ((backbone | NORMS if norm_rests else backbone) if heads_only else set())
        counted = {name: int(optimizer.state[p]["step"]) for name, p in model.named_parameters() if p in optimizer.state}
        assert counted == {
            name: batch.step + 1 - 2 * (name in backbone) for name in before if name not in backbone or not heads_only
        }
        assert ("loss/compactness" in terms) is not heads_only
        before = after


def test_moments_are_forgotten_at_the_start_of_each_published_epoch(opened: Opened) -> None:
    learner = trainer(opened("train.steps=7", "optimizer.reset_moments=true", "optimizer.epoch_steps=3"))
    counted = []
    for batch in learner.batches():
        learner.step(batch)
        counted.append({int(state["step"]) for state in learner.engine.optimizer.state.values()})
    assert counted == [{1}, {2}, {3}, {1}, {2}, {3}, {1}]


class ByHand:
    """The main head under frozen tokens in float64: forward and backward passes, clipping, AdamW and the mean, as on paper."""

    RATES = (0.005 * (1 / 2), 0.005 * 1 * 0.75, 0.005 * 0.25)  # warm-up of 2, times the cosine over 3 steps
    DECAY, BETAS, SMOOTHING, EMA = 0.5, (0.8, 0.9), 0.25, 0.2

    def __init__(self, start: dict[str, Array], rows: Array, clip: float) -> None:
        self.weights = {name: value for name, value in start.items() if name.startswith("main.")}
        self.mean = {name: value.copy() for name, value in self.weights.items()}
        self.first = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.second = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.rows, self.clip, self.taken = rows, clip or np.inf, 0

    def step(self, pooled: Array, labels: NDArray[np.int64]) -> tuple[float, float]:
        """Take a step on pooled tokens [B, D]; return the loss and the gradient's norm before clipping."""
        w = self.weights
        centred = pooled - pooled.mean(1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        scaled = normed * w["main.norm.weight"] + w["main.norm.bias"]
        scores = (scaled @ w["main.weight"].T + w["main.bias"]) @ self.rows.T
        logarithms = scores - scores.max(1, keepdims=True)
        logarithms -= np.log(np.exp(logarithms).sum(1, keepdims=True))
        target = np.full_like(scores, self.SMOOTHING / scores.shape[1])
        target[np.arange(len(labels)), labels] += 1 - self.SMOOTHING
        by_attribute = (np.exp(logarithms) - target) / len(labels) @ self.rows
        by_scaled = by_attribute @ w["main.weight"]
        gradients = {
            "main.norm.weight": (by_scaled * normed).sum(0),
            "main.norm.bias": by_scaled.sum(0),
            "main.weight": by_attribute.T @ scaled,
            "main.bias": by_attribute.sum(0),
        }
        norm = float(np.sqrt(sum((gradient**2).sum() for gradient in gradients.values())))
        self._update({name: gradient * min(1, self.clip / norm) for name, gradient in gradients.items()})
        return float(-(target * logarithms).sum(1).mean()), norm

    def _update(self, gradients: dict[str, Array]) -> None:
        rate, self.taken = self.RATES[self.taken], self.taken + 1
        for name, gradient in gradients.items():
            self.first[name] = self.BETAS[0] * self.first[name] + (1 - self.BETAS[0]) * gradient
            self.second[name] = self.BETAS[1] * self.second[name] + (1 - self.BETAS[1]) * gradient**2
            first = self.first[name] / (1 - self.BETAS[0] ** self.taken)
            second = self.second[name] / (1 - self.BETAS[1] ** self.taken)
            if name not in NORMS:  # whose gradient counts, but which rests
                decay = self.DECAY if name == "main.weight" else 0
                self.weights[name] = self.weights[name] * (1 - rate * decay) - rate * first / (np.sqrt(second) + 1e-8)
            # The first steps count more: 1/10, 2/11 and 3/12 of the mean are kept of what was before.
            kept = min(self.EMA, self.taken / (self.taken + 9))
            self.mean[name] = kept * self.mean[name] + (1 - kept) * self.weights[name]


BY_HAND = [
    *("train.steps=3", "train.heads_only_steps=3", "train.accumulation=5", "scores.kind=dot"),
    *("loss.ce_proto=0", "loss.mse_main=0", "loss.mse_proto=0", f"loss.label_smoothing={ByHand.SMOOTHING}"),
    *("optimizer.lr=0.005", "optimizer.warmup_steps=2", "optimizer.betas=[0.8, 0.9]", "optimizer.train_head_norm=false"),
    *(f"optimizer.weight_decay={ByHand.DECAY}", f"train.ema={ByHand.EMA}"),
]


@pytest.mark.parametrize(("clip", "clipped"), [(0.4, [True, False, True]), (0, [False, False, False])])
def test_three_steps_are_those_by_hand(opened: Opened, clip: float, clipped: list[bool]) -> None:
    """Schedule, accumulation of unequal parts, label smoothing, clipping, AdamW with decay, and the running mean, all at once."""
    experiment = opened(*BY_HAND, f"optimizer.clip_norm={clip}")
    sets, config = experiment.sets, experiment.config
    learner = trainer(experiment)
    model, optimizer = learner.engine.plain, learner.engine.optimizer
    hand = ByHand(weights(model), experiment.table.rows(sets.classes)[: sets.n_seen].astype(float), clip)
    norms = []
    for batch in learner.batches():
        pixels = training_pixels(torch.from_numpy(batch.images), config.data, config.run.seed, batch.step, batch.positions)
        with torch.no_grad():
            tokens = model.backbone(pixel_values=pixels).last_hidden_state
        loss, norm = hand.step(tokens.double().mean(1).numpy(), sets.labels[batch.ids])
        terms = learner.step(batch)
        assert terms["loss/total"].item() == pytest.approx(loss, rel=1e-5)
        assert terms["gradient_norm"].item() == pytest.approx(norm, rel=1e-4)
        norms.append(norm)
        assert learner._ema
        after, mean = weights(model), dict(learner._ema.weights())
        for name, parameter in model.named_parameters():
            if name in hand.weights:
                moments = optimizer.state[parameter]
                np.testing.assert_allclose(moments["exp_avg"], hand.first[name], rtol=1e-4, atol=1e-7, err_msg=name)
                np.testing.assert_allclose(moments["exp_avg_sq"], hand.second[name], rtol=1e-4, atol=1e-9, err_msg=name)
                np.testing.assert_allclose(after[name], hand.weights[name], rtol=1e-5, atol=1e-6, err_msg=name)
                np.testing.assert_allclose(mean[name], hand.mean[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert [norm > clip > 0 for norm in norms] == clipped


def test_the_mean_takes_the_weights_place_for_a_time_and_gives_it_back(opened: Opened) -> None:
    learner = trainer(opened("train.steps=2", "train.ema=0.9"))
    for batch in learner.batches():
        learner.step(batch)
    assert learner._ema
    before, mean = weights(learner.engine.plain), {name: value.double().numpy().copy() for name, value in learner._ema.weights()}
    with learner.engine.evaluated(learner._ema) as model:
        during = weights(model)
    after = weights(learner.engine.plain)
    for name, value in before.items():
        assert np.array_equal(during[name], mean[name])
        assert np.array_equal(after[name], value)
        assert not np.array_equal(mean[name], value)
    assert all(np.array_equal(value.double().numpy(), mean[name]) for name, value in learner._ema.weights())
