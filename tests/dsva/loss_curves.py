"""Curves of 20 steps of each recipe, recorded in loss_curves.json. To record them anew, where a recipe is meant to change:

    OMP_NUM_THREADS=1 python tests/dsva/loss_curves.py

The same machine gives the same bits. Which machine it was is told by what decides over rounding: torch's release, the instructions
that it uses, the number of threads, and the bits of some fixed arithmetic, in which other processors and libraries show.
"""

import json
import platform
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
import xxhash

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from drawn_set import draw_set, trainer

from dsva.config import load
from dsva.protocol.experiment import Experiment

RECORD = Path(__file__).with_suffix(".json")
CONFIGS = Path(__file__).parents[2] / "configs"
STEPS = 20
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
    values = torch.arange(64 * 96, dtype=torch.float32).view(64, 96).sin()
    weight = values[:48].clone().requires_grad_()
    layer = F.layer_norm(values, [96])
    hidden = F.linear(layer, weight).sigmoid()
    query, key, value = hidden.view(3, 2, 32, 16).unbind()
    attended = F.scaled_dot_product_attention(query, key, value)
    picture = F.conv2d(values.view(2, 3, 32, 32), weight.reshape(24, 3, 8, 8), stride=8)
    total = attended.square().sum() + picture.softmax(1).square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    bits = torch.cat([weight.grad.flatten(), hidden.detach().flatten(), total.detach().view(1)])
    return {
        "torch": torch.__version__,
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "arithmetic": xxhash.xxh3_64_hexdigest(bits.numpy().tobytes()),
    }


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
