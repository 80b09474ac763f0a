"""The learning rates of every schedule, and of every configuration of the project, against figures worked out by hand."""

import math
from pathlib import Path

import pytest

from dsva.config import Config, OptimizerConfig, TrainConfig, load
from dsva.train.schedule import learning_rate_factor

ROOT = Path(__file__).parents[2]
Rates = tuple[tuple[int, float, float], ...]  # step, the heads' learning rate, the backbone's


def factors(steps: int, heads_only: int = 0, **optimizer: object) -> list[float]:
    train = TrainConfig(steps=steps, heads_only_steps=heads_only)
    return [learning_rate_factor(step, OptimizerConfig.model_validate(optimizer), train) for step in range(steps)]


def test_constant_is_the_peak_at_every_step() -> None:
    assert factors(5, schedule="constant") == [1, 1, 1, 1, 1]


def test_warm_up_rises_by_equal_parts_and_ends_at_the_peak() -> None:
    assert factors(7, schedule="constant", warmup_steps=4) == [0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert factors(3, schedule="constant", warmup_steps=1) == [1, 1, 1]
    assert factors(3, schedule="constant", warmup_steps=30) == pytest.approx([1 / 30, 2 / 30, 3 / 30])


def test_cosine_falls_from_the_peak_through_its_half_to_nearly_nothing() -> None:
    # (1 + cos(pi step / 6)) / 2
    root = math.sqrt(3) / 2
    assert factors(6, schedule="cosine") == pytest.approx([1, (1 + root) / 2, 0.75, 0.5, 0.25, (1 - root) / 2], abs=1e-15)
    assert factors(1, schedule="cosine") == [1]
    long = factors(1000, schedule="cosine")
    assert (long[0], long[500]) == pytest.approx((1, 0.5))
    assert long[999] == pytest.approx((math.pi / 1000) ** 2 / 4, rel=1e-5)


def test_warm_up_and_cosine_multiply() -> None:
    made = factors(6, schedule="cosine", warmup_steps=3)
    assert made[:4] == pytest.approx([1 / 3, 2 / 3 * (1 + math.sqrt(3) / 2) / 2, 0.75, 0.5])
    assert made[3:] == factors(6, schedule="cosine")[3:]


def test_published_is_the_peak_with_heads_only_and_then_a_hundredth_that_falls_every_ten_epochs() -> None:
    made = factors(100, heads_only=12, schedule="published", epoch_steps=4)
    assert made[:12] == [1] * 12
    assert made[12:40] == pytest.approx([0.01] * 28)
    assert made[40:80] == pytest.approx([0.009] * 40)
    assert made[80:] == pytest.approx([0.0081] * 20)
    assert factors(4, heads_only=2, schedule="published", warmup_steps=4) == pytest.approx([0.25, 0.5, 0.0075, 0.01])


REFERENCE: Rates = (
    (0, 1e-4, 1e-4),
    (1499, 1e-4, 1e-4),
    (1500, 1e-6, 1e-6),
    (2999, 1e-6, 1e-6),
    (3000, 9e-7, 9e-7),
    (5999, 9e-7, 9e-7),
    (6000, 8.1e-7, 8.1e-7),
    (8999, 8.1e-7, 8.1e-7),
)
# 50 of 400 steps of warm-up: the first is 1/50 of the peak, the last (1 - cos(pi / 400)) / 2 of it.
AID: Rates = ((0, 2e-5, 2e-5), (200, 5e-4, 5e-4), (300, 1.464466e-4, 1.464466e-4), (399, 1.542118e-8, 1.542118e-8))
# 200 of 6000.
CLIP: Rates = ((0, 5e-6, 5e-8), (3000, 5e-4, 5e-6), (2000, 7.5e-4, 7.5e-6), (5999, 6.853893e-11, 6.853893e-13))
DEMO: Rates = ((0, 3.333333e-5, 3.333333e-5), (75, 5e-4, 5e-4), (149, 1.096583e-7, 1.096583e-7))
RECIPES = {
    **{f"configs/reference/rssdivcs_{split}.yaml": REFERENCE for split in ("40_30", "50_20", "60_10")},
    **{f"configs/aid_{split}.yaml": AID for split in ("25_5", "20_10", "15_15")},
    **{f"configs/presets/rtx4090_vit_{size}.yaml": CLIP for size in ("b32", "b16", "l14")},
    "configs/rssdivcs.yaml": CLIP,
    "dsva/demo/demo.yaml": DEMO,
}


def test_every_configuration_is_told_of() -> None:
    folders = (ROOT / "configs", ROOT / "configs" / "presets", ROOT / "configs" / "reference", ROOT / "dsva" / "demo")
    assert {str(file.relative_to(ROOT)) for folder in folders for file in folder.glob("*.yaml")} == RECIPES.keys()


@pytest.mark.parametrize("file", RECIPES)
def test_learning_rates_of_the_configurations(file: str) -> None:
    config: Config = load(ROOT / file)
    optimizer = config.optimizer
    steps, heads, backbone = zip(*RECIPES[file], strict=True)
    assert max(steps) == config.train.steps - 1
    made = [learning_rate_factor(step, optimizer, config.train) for step in steps]
    assert [optimizer.lr * each for each in made] == pytest.approx(heads, rel=1e-6)
    assert [optimizer.backbone_lr * each for each in made] == pytest.approx(backbone, rel=1e-6)
