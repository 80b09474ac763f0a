"""The backbone and the whole network around it (about 5 s)."""

import json
import socket
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from dsva.config import ModelConfig
from dsva.model.backbone import build_backbone, sine_cosine
from dsva.model.dsva import DSVA, Outputs
from shards.errors import UserError

GROUPS = ((0, 1, 2), (3, 4))
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 24,
    "patch_size": 8,
}
TEXT = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}


def small(**changes: Any) -> ModelConfig:
    return ModelConfig(**{"width": 16, "layers": 2, "heads": 2, "mlp": 32, "patch": 8, **changes})


def network(**changes: Any) -> DSVA:
    torch.manual_seed(0)
    return DSVA(small(**changes), 24, GROUPS)


def images() -> Tensor:
    return torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    CLIPVisionModel(CLIPVisionConfig(**VISION)).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_random_weights_depend_on_the_seed_only() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(DSVA(small(), 24, GROUPS).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    matrices = [name for name, value in states[0].items() if value.ndim > 1 and "position" not in name]
    assert not any(torch.equal(states[0][name], states[2][name]) for name in matrices)


def test_every_parameter_gets_a_gradient() -> None:
    model = network(prototype_bias=True)
    outputs = model(images())
    (outputs.main.sum() + outputs.proto.sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_positions_of_a_grid_differ_and_near_ones_are_alike() -> None:
    positions = sine_cosine(5, 16)
    similar = positions @ positions.T
    assert positions.shape == (25, 16)
    assert (similar.argmax(1) == torch.arange(25)).all()
    assert similar[12, 13] > similar[12, 14]
    assert similar[12, 17] > similar[12, 22]


@pytest.mark.usefixtures("no_network")
def test_folder_gives_the_saved_model(folder: Path) -> None:
    built = build_backbone(ModelConfig(backbone=str(folder)), 24)
    saved = CLIPVisionModel.from_pretrained(folder)
    with torch.no_grad():
        expected = saved(images()).last_hidden_state
        assert torch.equal(built(images()).last_hidden_state, expected)


@pytest.mark.usefixtures("no_network")
def test_folder_of_a_whole_clip_gives_its_vision_half(tmp_path: Path) -> None:
    clip = CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=8))
    clip.save_pretrained(tmp_path)
    built = build_backbone(ModelConfig(backbone=str(tmp_path)), 24)
    with torch.no_grad():
        expected = clip.vision_model(images()).last_hidden_state
        assert torch.equal(built(images()).last_hidden_state, expected)


@pytest.mark.usefixtures("no_network")
def test_folder_that_is_no_model(folder: Path) -> None:
    config = ModelConfig(backbone=str(folder))
    with pytest.raises(UserError, match=r"takes images of 24 x 24 pixels, data\.image_size is 32: set it to 24"):
        build_backbone(config, 32)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        build_backbone(config, 24)
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle, which is never opened")
    with pytest.raises(UserError, match="cannot be loaded"):
        build_backbone(config, 24)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("changes", [{"num_hidden_layers": 3}, {"hidden_size": 32}, {"hidden_size": "wide"}, {"patch_size": 0}])
def test_folder_whose_weights_do_not_fit_its_configuration(folder: Path, changes: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=r"model\.backbone="):
        build_backbone(ModelConfig(backbone=str(folder)), 24)


def test_names_that_lead_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("no-such-folder", str(tmp_path / "gone"), "../gone", "some-owner/no-such-model"):
        with pytest.raises(UserError, match=r"model\.backbone="):
            build_backbone(ModelConfig(backbone=name), 24)


@pytest.mark.parametrize(("changes", "size"), [({"patch": 7}, 24), ({"heads": 3}, 24), ({"width": 18}, 24)])
def test_impossible_sizes(changes: dict[str, Any], size: int) -> None:
    with pytest.raises(UserError, match="is not a multiple of"):
        build_backbone(small(**changes), size)


def test_frozen_backbone_gets_no_backward_pass() -> None:
    model, same = network(), network()
    outputs: Outputs = model(images(), regions=True, backbone_grad=False)
    expected: Outputs = same(images(), regions=True)
    torch.testing.assert_close(outputs.region, expected.region)
    for result in (outputs, expected):
        (result.main.square().sum() + result.proto.square().sum() + result.maps.sum()).backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    for name in ("main.weight", "main.norm.weight", "proto.prototypes"):
        torch.testing.assert_close(model.get_parameter(name).grad, same.get_parameter(name).grad)


def test_region_pass_runs_only_when_asked_for() -> None:
    model = network()
    sizes: list[int] = []
    model.backbone.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    assert model(images()).region is None
    assert sizes == [3]
    assert model(images(), regions=True).region.shape == (3, 5)
    assert sizes == [3, 3, 3]


def test_autocast_changes_little_and_gives_float32() -> None:
    model = network(prototype_bias=True)
    exact = model(images(), regions=True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(images(), regions=True)
    for name in ("main", "proto", "maps", "region", "main_norm"):
        value = getattr(outputs, name)
        assert value.dtype == torch.float32, name
        if name != "region":  # another box is another image
            torch.testing.assert_close(value, getattr(exact, name), rtol=0.1, atol=0.1, msg=name)


def test_bfloat16_parameters_work() -> None:
    outputs = network(prototype_bias=True).to(torch.bfloat16)(images(), regions=True)
    assert outputs.region.dtype == torch.float32
    torch.testing.assert_close(outputs.main, network()(images()).main, rtol=0.1, atol=0.1)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = network(gradient_checkpointing=checkpointing).train()
        outputs = model(images(), regions=True)
        (outputs.main.sum() + outputs.region.sum() + outputs.proto.sum()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_compiling_keeps_the_names() -> None:
    assert network(compile=True).state_dict().keys() == network().state_dict().keys()
