"""What a run costs by arithmetic, against what torch counts and keeps."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dsva.config import Config, load
from dsva.cost import HUB, Shape, flops_per_image, memory_bytes, peak_flops
from dsva.model.dsva import DSVA
from shards.errors import UserError

GROUPS = ((0, 1, 2, 3, 4), (5, 6))
PRESETS = Path(__file__).parents[2] / "configs" / "presets"


def small(**changes: object) -> Config:
    model = {"width": 64, "layers": 3, "heads": 4, "mlp": 200, "patch": 8, **changes}
    return Config.model_validate({"model": model, "data": {"image_size": 48, "resize": 48}})


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("heads_only", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_formula_counts_what_torch_counts(regions: bool, heads_only: bool, bias: bool) -> None:
    config = small(regions=regions, prototype_bias=bias)
    shape = Shape.of(config, 7)
    model = DSVA(config.model, 48, GROUPS)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    images = torch.rand(2, 3, 48, 48)
    # torch counts products of plain attention; it has no formula for its fused one on a CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward, torch.no_grad():
        model(images, regions=regions)
    assert forward.get_total_flops() / 2 == pytest.approx(shape.forward_flops(regions), rel=0.002)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as step:
        outputs = model(images, regions=regions and not heads_only, backbone_grad=not heads_only)
        total = outputs.main.sum() + outputs.proto.sum() + (0 if outputs.region is None else outputs.region.sum())
        total.backward()
    assert step.get_total_flops() / 2 == pytest.approx(shape.step_flops(regions, heads_only), rel=0.002)


def test_a_run_is_the_mean_of_its_steps() -> None:
    config = Config.model_validate({"train": {"steps": 40, "heads_only_steps": 10}, "model": {"regions": True}})
    shape = Shape.of(config, 59)
    wanted = 0.25 * shape.step_flops(regions=True, heads_only=True) + 0.75 * shape.step_flops(regions=True, heads_only=False)
    assert flops_per_image(config, shape) == pytest.approx(wanted)


@pytest.mark.parametrize(("preset", "state", "activations"), [("b32", 2.3, 0.7), ("b16", 2.2, 2.8), ("l14", 5.8, 4.9)])
def test_presets_need_what_they_say(preset: str, state: float, activations: float) -> None:
    config = load(PRESETS / f"rtx4090_vit_{preset}.yaml")
    memory = memory_bytes(config, Shape.of(config, 98), 8)
    assert memory.state / 1e9 == pytest.approx(state, abs=0.06)
    assert memory.activations / 1e9 == pytest.approx(activations, abs=0.06)
    assert memory.total == memory.state + memory.activations


@pytest.mark.parametrize(("engine", "bytes_a_weight"), [("ddp", 26), ("zero1", 20), ("zero2", 17), ("zero3", 9), ("fsdp2", 9)])
def test_engines_cut_what_they_cut(engine: str, bytes_a_weight: float) -> None:
    config = Config.model_validate({"train": {"engine": engine, "precision": "bf16", "ema": 0.9}})
    shape = Shape.of(config, 59)
    assert memory_bytes(config, shape, 4).state == bytes_a_weight * shape.parameters


@pytest.mark.parametrize("regions", [False, True])
def test_activations_are_what_autograd_keeps(regions: bool) -> None:
    """In float32, for a batch of 8 images."""
    config = small(regions=regions, width=192, mlp=768, layers=4)
    config = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": 8})})
    model = DSVA(config.model, 48, GROUPS)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(torch.rand(8, 3, 48, 48), regions=regions)  # what it leads to keeps what it was made from
    assert outputs.main.requires_grad
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    assert memory_bytes(config, Shape.of(config, 7), 1).activations == pytest.approx(sum(kept.values()), rel=0.1)


def test_peaks_are_of_the_device_itself() -> None:
    names = ("NVIDIA GeForce RTX 4090", "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA H100 PCIe")
    assert [peak_flops(name) for name in names] == [165e12, 312e12, 989e12, 989e12, 756e12]
    assert [peak_flops(name) for name in ("cpu", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 3090")] == [None] * 3


def test_sizes_of_a_folder(tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig

    patch, width, layers, mlp = HUB["openai/clip-vit-base-patch16"]
    sizes = CLIPVisionConfig(patch_size=patch, hidden_size=width, num_hidden_layers=layers, intermediate_size=mlp)
    sizes.save_pretrained(tmp_path)
    here, hub = (Config.model_validate({"model": {"backbone": name}}) for name in (str(tmp_path), "openai/clip-vit-base-patch16"))
    assert Shape.of(here, 9) == Shape.of(hub, 9)
    with pytest.raises(UserError, match="cannot be read"):
        Shape.of(Config.model_validate({"model": {"backbone": str(tmp_path / "none")}}), 9)
