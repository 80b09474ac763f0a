"""The loss and the arithmetic of scores (about 1 s)."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dsva.config import LossConfig, ModelConfig, ScoresConfig
from dsva.model.dsva import DSVA, Outputs
from dsva.model.losses import Losses, attention_spread, main_scores
from dsva.model.scores import class_rows

GROUPS = ((0, 1, 2), (3, 4), (5, 6))
IMAGES, CLASSES = 7, 4
ALL_TERMS = LossConfig(compactness=1e-3, group_main=1e-2, group_proto=1e-2, mse_main=0.3, mse_proto=0.2, label_smoothing=0.1)


def strengths() -> Tensor:
    return torch.rand(CLASSES + 2, 7, generator=torch.Generator().manual_seed(3))


def losses(scores: ScoresConfig, config: LossConfig = ALL_TERMS) -> Losses:
    return Losses(class_rows(strengths(), CLASSES, scores).part(slice(CLASSES)), config, region_weight=0.7)


def model() -> DSVA:
    torch.manual_seed(0)
    return DSVA(ModelConfig(width=16, layers=1, heads=2, mlp=16, patch=8, prototype_bias=True), 24, GROUPS)


def batch() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(IMAGES, 3, 24, 24, generator=random), torch.randint(0, CLASSES, (IMAGES,), generator=random)


def add_up(parts: int, scores: ScoresConfig) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Compute the terms and the gradients of a batch in unequal parts."""
    network, loss, (images, labels) = model(), losses(scores), batch()
    totals: dict[str, float] = {}
    for places in np.array_split(np.arange(IMAGES), parts):
        terms = loss(network(images[places], regions=True), labels[places], share=len(places) / IMAGES, fine_tuning=True)
        terms["total"].backward()
        totals = {name: totals.get(name, 0.0) + value.item() for name, value in terms.items()}
    return totals, {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("parts", [2, 3, 7])
@pytest.mark.parametrize("scores", [ScoresConfig(), ScoresConfig(kind="dot", double_softmax=True)], ids=["cosine", "dot"])
def test_split_batch_has_the_same_loss_and_gradients(scores: ScoresConfig, parts: int) -> None:
    whole_terms, whole_gradients = add_up(1, scores)
    terms, gradients = add_up(parts, scores)
    assert whole_terms.keys() == ALL_TERMS.model_dump().keys() - {"label_smoothing"} | {"total"}
    assert terms == pytest.approx(whole_terms, rel=1e-5)
    assert gradients.keys() == dict(model().named_parameters()).keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole_gradients[name], rtol=1e-3, atol=1e-6, msg=name)


def test_total_is_the_sum_of_the_wanted_terms() -> None:
    images, labels = batch()
    outputs = model()(images)
    config = LossConfig(ce_proto=0.0, mse_main=0.0)
    terms = losses(ScoresConfig(), config)(outputs, labels, share=1.0, fine_tuning=False)
    assert terms.keys() == {"ce_main", "mse_proto", "total"}
    assert terms["total"].item() == pytest.approx(terms["ce_main"].item() + terms["mse_proto"].item())
    fine_tuning = losses(ScoresConfig(), config)(outputs, labels, share=1.0, fine_tuning=True)
    assert fine_tuning.keys() - terms.keys() == {"compactness"}


def test_cross_entropy_is_of_logits_or_of_probabilities() -> None:
    images, labels = batch()
    outputs = model()(images)
    for double in (False, True):
        loss = losses(ScoresConfig(double_softmax=double), LossConfig())
        logits = loss.rows.scores(outputs.proto)
        logits = logits.softmax(1) if double else logits
        expected = -logits.log_softmax(1)[torch.arange(IMAGES), labels].mean()
        assert loss(outputs, labels, share=1.0, fine_tuning=False)["ce_proto"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_regions_add_their_weighted_scores() -> None:
    outputs = model()(batch()[0], regions=True)
    rows = losses(ScoresConfig()).rows
    assert outputs.region is not None
    expected = rows.scores(outputs.main) + 0.7 * rows.scores(outputs.region)
    torch.testing.assert_close(main_scores(outputs, rows, 0.7), expected)
    torch.testing.assert_close(main_scores(outputs._replace(region=None), rows, 0.7), rows.scores(outputs.main))


def test_attention_spread_is_the_sum_over_cells() -> None:
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    expected = 0.0
    for one in maps.flatten(0, 1).numpy():
        peak = np.unravel_index(one.argmax(), one.shape)
        for row, column in np.ndindex(*one.shape):
            expected += ((row - peak[0]) ** 2 + (column - peak[1]) ** 2) / (1 + np.exp(-one[row, column]))
    assert attention_spread(maps).item() == pytest.approx(expected, rel=1e-5)


def test_unseen_classes_do_not_enter_the_standardisation() -> None:
    table, config = strengths(), ScoresConfig(min_deviation=0.01)
    rows = class_rows(table, CLASSES, config)
    torch.testing.assert_close(rows.values[:CLASSES].mean(0), torch.zeros(7), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.values[:CLASSES].std(0, correction=0), torch.ones(7))
    changed = table.clone()
    changed[CLASSES:] = 100.0
    assert torch.equal(class_rows(changed, CLASSES, config).values[:CLASSES], rows.values[:CLASSES])


def test_small_deviations_are_raised() -> None:
    table = strengths()
    table[:, 1] *= 0.01
    deviation = table[:CLASSES].std(0, correction=0)
    rows = class_rows(table, CLASSES, ScoresConfig(min_deviation=0.2))
    torch.testing.assert_close(rows.values[:CLASSES].std(0, correction=0), deviation / deviation.clamp(min=0.2))


def test_attribute_that_no_seen_class_varies_in_counts_for_nothing() -> None:
    table = strengths()
    table[:CLASSES, 2] = 0.3
    rows = class_rows(table, CLASSES, ScoresConfig())
    assert rows.values[:, 2].tolist() == [0.0] * len(table)
    assert rows.values.isfinite().all()


def test_scores() -> None:
    table = strengths()
    attributes = torch.randn(5, 7, generator=torch.Generator().manual_seed(6))
    dot = class_rows(table, CLASSES, ScoresConfig(kind="dot"))
    torch.testing.assert_close(dot.scores(attributes), attributes @ table.T)
    cosine = class_rows(table, CLASSES, ScoresConfig(temperature=0.5))
    torch.testing.assert_close(cosine.scores(attributes), cosine.scores(3 * attributes))
    own: Any = cosine.scores(cosine.values)
    torch.testing.assert_close(own.diagonal(), torch.full((len(table),), 2.0))
    assert own.max() <= 2.0 + 1e-5


def test_no_attributes_at_all_have_finite_gradients() -> None:
    zeros = torch.zeros(2, 7, requires_grad=True)
    outputs = Outputs(zeros, zeros, zeros.view(2, 7, 1, 1), zeros.sum(), zeros.sum(), None, None)
    terms = losses(ScoresConfig())(outputs, torch.tensor([0, 1]), share=1.0, fine_tuning=True)
    terms["total"].backward()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()
