"""Curves of 20 steps of each recipe, recorded in loss_curves.json. To record them anew, where a recipe is meant to change:

    OMP_NUM_THREADS=1 python -m tests.helpers.loss_curves

The same machine gives the same bits. Which machine it was is told by what decides over rounding: releases, the instructions that
torch uses, the number of threads, and the bits of some fixed arithmetic, in which other processors and libraries show.
"""

import json
import platform
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
import xxhash

from dsva.config import load
from dsva.protocol.experiment import Experiment
from tests.helpers.drawn_set import draw_set, trainer

RECORD = Path(__file__).with_suffix(".json")
CONFIGS = Path(__file__).parents[2] / "configs"
STEPS = 20
SHAPES = ((32, 16), (16, 32))  # of the matrices of some fixed arithmetic
# Each recipe as it comes with the project, its stages moved into 20 steps, its learning rates those of random weights.
RECIPES = {
    "main": ("aid_25_5.yaml", ["optimizer.warmup_steps=4", "train.accumulation=2"]),
    "regions": (
        "rssdivcs.yaml",
        [
            "optimizer.warmup_steps=4",
            "optimizer.backbone_lr=0.001",
            "train.heads_only_steps=6",
            "data.ways=4",
            'train.precision="no"',
        ],
    ),
    "reference": (
        "reference/rssdivcs_50_20.yaml",
        ["optimizer.lr=0.01", "optimizer.backbone_lr=0.1", "optimizer.epoch_steps=3", "train.heads_only_steps=6", "data.ways=4"],
    ),
}
Curves = dict[str, list[float | str]]  # each figure of a step's metrics, over the steps


def curves(recipe: str, folder: Path) -> Curves:
    """Train a recipe in a new folder; return its losses, gradient norms, learning rates and the images of its batches."""
    file, overrides = RECIPES[recipe]
    config = load(CONFIGS / file, [*draw_set(folder), f"train.steps={STEPS}", *overrides])
    learner = trainer(Experiment.open(config))
    made: Curves = {}
    for batch in learner.batches():
        for name, value in learner.metrics(batch, learner.step(batch)).items():
            if name.startswith(("loss/", "lr/")) or name in ("gradient_norm", "batch"):
                made.setdefault(name, []).append(value)
    return made


def machine() -> dict[str, str | int]:
    """Return what decides over the last bits of a result; nothing of the project has a part in it."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "arithmetic": xxhash.xxh3_64_hexdigest(_arithmetic().numpy().tobytes()),
    }


def _arithmetic() -> torch.Tensor:
    """Pass some waves through layers of the kinds and sizes that the tiny network has, and back."""
    kernel = torch.arange(16 * 3 * 8 * 8, dtype=torch.float32).sin().view(16, 3, 8, 8).requires_grad_()
    weights = [kernel, *(kernel.detach().flatten()[: n * m].view(n, m).clone().requires_grad_() for n, m in SHAPES)]
    images = torch.arange(12 * 3 * 32 * 32, dtype=torch.float32).cos().view(12, 3, 32, 32)
    tokens = F.conv2d(images, kernel, stride=8).flatten(2).transpose(1, 2)
    for weight in weights[1:]:
        tokens = F.gelu(F.linear(F.layer_norm(tokens, tokens.shape[2:]), weight))
    parted = tokens.reshape(12, 16, 2, 8).transpose(1, 2)
    total = F.scaled_dot_product_attention(parted, parted, parted).flatten(1).log_softmax(1).square().mean()
    total.backward()
    return torch.cat(
        [tokens.detach().flatten(), total.detach().view(1), *(w.grad.flatten() for w in weights if w.grad is not None)]
    )


def main() -> None:
    """Record."""
    made: dict[str, Curves] = {}
    for recipe in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            made[recipe] = curves(recipe, Path(folder))
    text = json.dumps({"machine": machine(), "curves": made})
    RECORD.write_text(text.replace("], ", "],\n").replace("{", "{\n") + "\n")  # a figure a line


if __name__ == "__main__":
    main()
