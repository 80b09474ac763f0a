"""An experiment on a few AID scenes that takes milliseconds a step, for tests that train."""

import json
from pathlib import Path

import yaml
from rich.console import Console

from shards.pack import pack
from shards.sources import open_source

CLASSES = ("Airport", "Beach", "Bridge", "Desert", "Forest", "Park")
TABLE = Path(__file__).parents[2] / "configs" / "aid" / "class_attributes.json"


def tiny_experiment(images: Path, folder: Path, per_class: int = 8) -> Path:
    """Pack the first images of a few classes at 32 pixels; return a configuration for them."""
    for name in CLASSES:
        (folder / "images" / name).mkdir(parents=True)
        for image in sorted((images / name).iterdir())[:per_class]:
            (folder / "images" / name / image.name).symlink_to(image)
    source = open_source(folder / "images", None, 0)
    pack(source, folder / "shards", workers=1, shard_bytes=1 << 20, resize=32, console=Console(quiet=True))
    table = json.loads(TABLE.read_text())
    rows = [table["matrix"][table["classes"].index(name)] for name in CLASSES]
    (folder / "attributes.json").write_text(json.dumps({**table, "classes": CLASSES, "matrix": rows}))
    (folder / "splits.json").write_text(json.dumps({"4_2": {"seen": CLASSES[:4], "unseen": CLASSES[4:]}}))
    config = {
        "data": {"shards": str(folder / "shards"), "batch_size": 12, "ways": 4, "image_size": 24, "resize": 28, "workers": 1},
        "classes": {"attributes": "attributes.json", "splits": "splits.json", "split": "4_2", "seen_test_share": 0.25},
        "model": {"width": 16, "layers": 2, "heads": 2, "mlp": 32, "patch": 8},
        "loss": {"group_main": 1e-3},
        "train": {"steps": 20, "heads_only_steps": 3},
        "run": {"log_every": 1, "checkpoint_every": 10},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"
