"""A set that a network can learn something from, drawn in a moment and the same on every machine.

Every picture is a coarse pattern of its class under noise, kept as PNG: no version of a JPEG library has a part in its pixels.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.train.phases import Phases
from dsva.train.trainer import Trainer
from shards.pack import pack
from shards.sources import open_source

CLASSES, UNSEEN, EACH, SIDE = 8, 2, 12, 40
GROUPS = {"shapes": ["round", "long", "flat"], "colours": ["green", "grey"]}
# The smallest network and batches that have all the parts.
TINY = ["model.backbone=random", "model.width=16", "model.layers=1", "model.heads=2", "model.mlp=32", "model.patch=8"]
TINY += ["data.batch_size=12", "data.image_size=32", "data.resize=36", "data.workers=1", "run.log_every=1"]


def draw_set(root: Path) -> list[str]:
    """Draw and pack it into a new folder; return the overrides that let a configuration train a tiny network on it there."""
    random = np.random.RandomState(0)  # whose numbers no release of numpy changes
    names = [f"class_{label}" for label in range(CLASSES)]
    for name in names:
        (root / "DATA" / name).mkdir(parents=True)
        pattern = np.kron(random.randint(0, 256, (5, 5, 3)), np.ones((SIDE // 5, SIDE // 5, 1)))
        for number in range(EACH):
            pixels = (pattern + random.randint(0, 256, (SIDE, SIDE, 3))) / 2
            Image.fromarray(pixels.astype(np.uint8)).save(root / "DATA" / name / f"{number}.png")
    pack(open_source(root / "DATA"), root / "SET", shard_bytes=100_000)
    table = {"classes": names, "groups": GROUPS, "matrix": (random.randint(0, 101, (CLASSES, 5)) / 100).tolist()}
    (root / "attributes.json").write_text(json.dumps(table))
    (root / "splits.json").write_text(json.dumps({"split": {"seen": names[:-UNSEEN], "unseen": names[-UNSEEN:]}}))
    places = [f"data.shards={root / 'SET'}", f"classes.attributes={root / 'attributes.json'}"]
    return [*TINY, *places, f"classes.splits={root / 'splits.json'}", "classes.split=split", f"run.dir={root / 'RUN'}"]


def trainer(experiment: Experiment) -> Trainer:
    """Return the trainer of an experiment, on one process, before its first step."""
    ranks = Ranks()
    return Trainer(experiment, ranks, Phases(ranks.device))
