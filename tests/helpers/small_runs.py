"""A small run on drawn scenes: nine classes, three of them unseen, ten images each, a tiny network, three steps."""

import json
from collections.abc import Sequence
from pathlib import Path

from dsva.config import Config, load
from dsva.train.run import run
from shards.pack import pack
from shards.sources import open_source
from tests.helpers.drawn import ATTRIBUTES, draw
from tests.helpers.heard import heard

SEEN, UNSEEN = ("Airport", "BareLand", "Beach", "Desert", "Forest", "Port"), ("Bridge", "Pond", "Stadium")
IMAGES = 10
SIZES = ["model.width=32", "model.layers=1", "model.heads=2", "model.mlp=32", "model.patch=12"]
SIZES += ["data.image_size=48", "data.resize=60", "data.batch_size=12", "train.steps=3", "run.log_every=1"]


def small_set(folder: Path) -> None:
    """Draw the scenes and make the set of them."""
    draw(folder / "images", IMAGES, (*SEEN, *UNSEEN))
    pack_small(folder)


def pack_small(folder: Path) -> None:
    """Pack the scenes of `folder/images`, 64 pixels wide, and write the class split beside them."""
    pack(open_source(folder / "images"), folder / "shards", workers=1, resize=64)
    (folder / "splits.json").write_text(json.dumps({"small": {"seen": SEEN, "unseen": UNSEEN}}))


def small_config(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a run on what `small_set` wrote."""
    places = [f"data.shards={folder / 'shards'}", f"classes.attributes={ATTRIBUTES}", f"classes.splits={folder / 'splits.json'}"]
    given = [*places, "classes.split=small", f"run.dir={folder / 'run'}", *SIZES, *overrides]
    empty = folder / "empty.yaml"
    empty.write_text("")
    return load(empty, given)


def small_run(folder: Path, overrides: Sequence[str] = ()) -> Path:
    """Train and score the run; return its directory."""
    small_set(folder)
    config = small_config(folder, overrides)
    with heard() as said:
        assert run(config) == 0
    assert "could not be drawn" not in said.getvalue()
    return config.run.dir
