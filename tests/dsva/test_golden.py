"""The model against the recorded results of the published code (about 6 s)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dsva.model.dsva import Outputs
from dsva.model.losses import main_scores
from tests.helpers.golden_case import TERMS, Case, load_case, recorded_name

RTOL, ATOL = 1e-4, 1e-5


@pytest.fixture(params=["a", "b"])
def case(golden: Path, request: pytest.FixtureRequest) -> Case:
    return load_case(golden, request.param)


def losses(case: Case) -> tuple[Outputs, dict[str, torch.Tensor]]:
    outputs = case.model(case.images, regions=case.regions)
    return outputs, case.losses(outputs, case.labels, share=1.0, fine_tuning=True)


def arrays(case: Case, outputs: Outputs) -> Iterator[tuple[str, torch.Tensor]]:
    rows = case.losses.rows
    yield "attributes_final", outputs.main
    yield "attributes_local", outputs.proto
    yield "attention", outputs.maps
    yield "local_class_probabilities", rows.scores(outputs.proto).softmax(1)
    yield "class_probabilities", main_scores(outputs, rows, case.losses.region_weight).softmax(1)
    if outputs.region is not None and outputs.boxes is not None:
        yield "region_class_probabilities", rows.scores(outputs.region).softmax(1)
        yield "crop_sizes", outputs.boxes[:, 2:] - outputs.boxes[:, :2]


def test_outputs_losses_and_gradients(case: Case) -> None:
    outputs, terms = losses(case)
    compared = dict(arrays(case, outputs))
    assert {name for name, value in case.results.items() if value.ndim >= 2} == compared.keys()
    for name, value in compared.items():
        recorded = torch.from_numpy(case.results[name])
        torch.testing.assert_close(value.detach(), recorded, rtol=RTOL, atol=ATOL, msg=(name + ": {}").format)
    for name, term in TERMS.items():
        figure = terms[name].item() if name in terms else 0.0
        assert figure == pytest.approx(case.results[f"loss_{term}"], rel=1e-4), name
    terms["total"].backward()
    norms = {recorded_name(name): p.grad.norm().item() for name, p in case.model.named_parameters() if p.grad is not None}
    expected = {name: norm for name, norm in case.gradient_norms.items() if "post_layernorm" not in name}
    assert norms == pytest.approx(expected, rel=2e-4, abs=1e-7)


def test_loss_trajectory(case: Case) -> None:
    optimizer = torch.optim.Adam(case.model.parameters(), lr=1e-4, betas=(0.5, 0.999))
    trajectory = []
    for _ in range(4):
        total = losses(case)[1]["total"]
        trajectory.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert trajectory == pytest.approx(case.results["loss_trajectory"].tolist(), rel=1e-4)
