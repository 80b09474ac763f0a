"""A shard set of noise, made in a moment and where there are no scenes, and a configuration that trains on it in a moment."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from shards.pack import pack
from shards.sources import open_source

SMALL: dict[str, dict[str, Any]] = {
    "classes": {"attributes": "attributes.json", "splits": "splits.json", "split": "split"},
    "model": {"width": 32, "layers": 1, "heads": 2, "mlp": 32, "patch": 8},
    "optimizer": {"lr": 3e-3},
    "train": {"steps": 6},
    "run": {"log_every": 1, "checkpoint_every": 2},
}


@dataclass(frozen=True)
class Noise:
    """The set, its class files and `config.yaml`, which names them.

    Attributes:
        root: folder of it all.
    """

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def shards(self) -> Path:
        return self.root / "SET"


def noise(root: Path, classes: int = 8, each: int = 12, side: int = 40, seed: int = 0) -> Noise:
    """Make it; the last two classes are unseen. All pictures are different, so that a mistaken one is noticed."""
    rng = np.random.default_rng(seed)
    names = [f"class_{label}" for label in range(classes)]
    for name in names:
        (root / "DATA" / name).mkdir(parents=True)
        for i in range(each):
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(root / "DATA" / name / f"{i}.jpg")
    made = Noise(root)
    pack(open_source(root / "DATA"), made.shards, shard_bytes=60_000)
    groups = {"shapes": ["round", "long", "flat"], "colours": ["green", "grey"]}
    table = {"classes": names, "groups": groups, "matrix": rng.random((classes, 5)).round(3).tolist()}
    (root / "attributes.json").write_text(json.dumps(table))
    (root / "splits.json").write_text(json.dumps({"split": {"seen": names[:-2], "unseen": names[-2:]}}))
    data = {"shards": str(made.shards), "batch_size": 12, "image_size": 32, "resize": 36}
    made.config.write_text(yaml.safe_dump({**SMALL, "data": data}))
    return made
