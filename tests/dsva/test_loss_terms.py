"""Every term of the loss, the heads that feed it and the class scores, worked out by hand in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dsva.config import LossConfig, ModelConfig, ScoresConfig
from dsva.model.dsva import DSVA, Outputs
from dsva.model.heads import MainHead, PrototypeHead, group_norm
from dsva.model.losses import Losses
from dsva.model.scores import ClassRows, class_rows

Array = NDArray[np.float64]
SHARE, REGION_WEIGHT = 0.25, 0.5
LABELS = [2, 0]
ROWS = np.array([[1.0, 0, 2], [0, 3, 1], [2, 1, 0]])
MAIN, PROTO, REGION = np.array([[[1.0, 2, 0], [0, 1, 1]], [[2, 0, 1], [1, 1, 3]], [[0, 1, 0], [2, 0, 0]]])
MAPS = np.zeros((2, 3, 2, 2))
MAPS[0, 0] = [[0, 4], [1, 2]]
MAPS[1, 2] = [[-1, -2], [-3, 5]]


def softmax(scores: Array) -> Array:
    powers = np.exp(scores)
    return np.asarray(powers / powers.sum(1, keepdims=True))


def cross_entropy(scores: Array, smoothing: float) -> float:
    target = np.full(scores.shape, smoothing / scores.shape[1])
    target[[0, 1], LABELS] += 1 - smoothing
    return float(-(target * np.log(softmax(scores))).sum(1).mean())


def terms(scores: ScoresConfig, fine_tuning: bool = True, region: Array | None = None, **weights: Any) -> dict[str, float]:
    main, proto, maps, rows = (torch.from_numpy(value).float() for value in (MAIN, PROTO, MAPS, ROWS))
    cropped = None if region is None else torch.from_numpy(region).float()
    outputs = Outputs(main, proto, maps, torch.tensor(7.0), torch.tensor(11.0), cropped, None)
    losses = Losses(ClassRows(rows, scores), LossConfig.model_validate(weights), REGION_WEIGHT)
    made = losses(outputs, torch.tensor(LABELS), share=SHARE, fine_tuning=fine_tuning)
    return {name: value.item() for name, value in made.items()}


def test_weights_that_are_given_none_are_the_published_ones() -> None:
    published = {"ce_main": 1, "ce_proto": 1, "mse_main": 0.01, "mse_proto": 0.08, "compactness": 1e-9}
    assert LossConfig().model_dump() == {**published, "group_main": 0, "group_proto": 0, "label_smoothing": 0}


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("double", [False, True])
def test_terms_of_dot_scores(smoothing: float, double: bool) -> None:
    def scores(attributes: Array) -> Array:
        return softmax(attributes @ ROWS.T) if double else attributes @ ROWS.T

    weights: dict[str, Any] = {
        "ce_main": 2,
        "ce_proto": 3,
        "mse_main": 5,
        "mse_proto": 7,
        "compactness": 11,
        "group_main": 13,
        "group_proto": 17,
    }
    made = terms(ScoresConfig(kind="dot", double_softmax=double), label_smoothing=smoothing, **weights)
    wanted = ROWS[LABELS]
    # Squared distances to the peaks: at (0, 1) of one map, (1, 1) of another, (0, 0) of four constant ones.
    places = [(0, 1.0), (1, 2.0), (2, 1.0)], [(-1, 2.0), (-2, 1.0), (-3, 1.0)]
    spread = sum(distance / (1 + math.exp(-value)) for one in places for value, distance in one) + 4 * (1 + 1 + 2) / 2
    expected = {
        "ce_main": 2 * SHARE * cross_entropy(scores(MAIN), smoothing),
        "ce_proto": 3 * SHARE * cross_entropy(scores(PROTO), smoothing),
        "mse_main": 5 * SHARE * ((MAIN - wanted) ** 2).mean(),
        "mse_proto": 7 * SHARE * ((PROTO - wanted) ** 2).mean(),
        "compactness": 11 * spread,  # a sum over images: no share
        "group_main": 13 * SHARE * 7,
        "group_proto": 17 * SHARE * 11,
    }
    assert made == pytest.approx({**expected, "total": sum(expected.values())}, rel=1e-5)


def test_terms_of_cosine_scores_with_a_region() -> None:
    def unit(values: Array) -> Array:
        return np.asarray(values / np.sqrt((values**2).sum(1, keepdims=True)))

    made = terms(ScoresConfig(temperature=0.5), fine_tuning=False, region=REGION)
    main = unit(MAIN) @ unit(ROWS).T / 0.5 + REGION_WEIGHT * unit(REGION) @ unit(ROWS).T / 0.5
    assert made["ce_main"] == pytest.approx(SHARE * cross_entropy(main, 0), rel=1e-5)
    assert made["ce_proto"] == pytest.approx(SHARE * cross_entropy(unit(PROTO) @ unit(ROWS).T / 0.5, 0), rel=1e-5)
    assert made.keys() == {"ce_main", "ce_proto", "mse_main", "mse_proto", "total"}


def test_cosine_rows_are_standardised_by_the_seen_classes() -> None:
    strengths = torch.tensor([[0.0, 0.5, 0.3], [1.0, 0.6, 0.3], [5.0, 0.9, 0.8]])  # the last is unseen
    rows = class_rows(strengths, 2, ScoresConfig(min_deviation=0.25))
    # Means 0.5, 0.55, 0.3; deviations 0.5, 0.05 (raised to 0.25), 0 (counts for nothing).
    expected = [[-1, -0.2, 0], [1, 0.2, 0], [9, 1.4, 0]]
    torch.testing.assert_close(rows.values, torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(class_rows(strengths, 2, ScoresConfig(kind="dot")).values, strengths)


def test_main_head_is_linear_in_the_normalised_tokens() -> None:
    head = MainHead(4, 3)
    pooled = torch.tensor([[1.0, 2, 3, 6], [0, 0, 4, 4]])
    with torch.no_grad():
        head.weight.copy_(torch.arange(12.0).view(3, 4))
        head.bias.copy_(torch.tensor([1.0, 2, 3]))
    values = pooled.double().numpy()
    values = (values - values.mean(1, keepdims=True)) / np.sqrt(values.var(1, keepdims=True) + 1e-5)
    attributes, norm = head(pooled, torch.tensor([[True, True, False], [False, False, True]]))
    np.testing.assert_allclose(attributes.detach(), values @ np.arange(12.0).reshape(3, 4).T + [1, 2, 3], rtol=1e-5)
    # Groups of rows 0 and 1, and of row 2.
    assert norm.item() == pytest.approx(math.sqrt(sum(k**2 for k in range(8))) + math.sqrt(sum(k**2 for k in range(8, 12))))


def test_prototype_head_takes_the_best_match_among_all_tokens_and_shows_those_of_the_cells() -> None:
    head = PrototypeHead(2, 2, bias=True)
    assert head.bias is not None
    with torch.no_grad():
        head.prototypes.copy_(torch.tensor([[1.0, 0], [0, 1]]))
        head.bias.copy_(torch.tensor([0.5, -0.5]))
    tokens = torch.tensor([[[9.0, 0], [1, 2], [3, 4], [5, 6], [7, 8]]])  # CLS, and 2 x 2 cells
    attributes, maps, _ = head(tokens, torch.ones(1, 2).bool())
    assert attributes.tolist() == [[9.5, 7.5]]
    assert maps.tolist() == [[[[1, 3], [5, 7]], [[2, 4], [6, 8]]]]


def test_group_norm_of_nothing_is_not_quite_nothing() -> None:
    assert group_norm(torch.zeros(3, 4), torch.tensor([[1, 1, 0], [0, 0, 1]]).bool()).item() == pytest.approx(2 * 2e-4)


@torch.no_grad()
def test_heads_see_the_mean_of_an_images_tokens_and_the_largest_of_its_regions() -> None:
    torch.manual_seed(0)
    model = DSVA(ModelConfig(width=16, layers=1, heads=2, mlp=16, patch=8), 24, ((0, 1), (2,)))
    images = torch.randn(2, 3, 24, 24)
    passes: list[torch.Tensor] = []
    model.backbone.register_forward_hook(lambda _, __, made: passes.append(made.last_hidden_state))
    outputs = model(images, regions=True)
    assert outputs.region is not None
    whole, cropped = passes
    torch.testing.assert_close(outputs.main, model.main(whole.sum(1) / 10, model.groups)[0])
    torch.testing.assert_close(outputs.region, model.main(cropped.max(1).values, model.groups)[0])
    torch.testing.assert_close(outputs.proto, model.proto(whole, model.groups)[0])
