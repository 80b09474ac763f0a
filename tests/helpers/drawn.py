"""Overhead scenes for tests that need pictures of whatever: the demonstration draws them, under the names of AID's classes."""

import json
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path

from dsva.demo.classes import CLASSES
from dsva.demo.scenes import draw_scene
from shards.hashing import SCENES
from tests.helpers.programs import ROOT

ATTRIBUTES = ROOT / "configs" / "aid" / "class_attributes.json"
NAMES: tuple[str, ...] = tuple(json.loads(ATTRIBUTES.read_text())["classes"])
SIDE = 150  # pixels


@cache
def scene(name: str, number: int) -> bytes:
    """A JPEG; the same whenever it is drawn, and like no other."""
    out, label = BytesIO(), NAMES.index(name)
    draw_scene(CLASSES[label], SIDE, 0, SCENES, label, number).save(out, "JPEG", quality=95)
    return out.getvalue()


def draw(folder: Path, each: int, names: Iterable[str] = NAMES) -> Path:
    """Write `folder/NAME/name_NUMBER.jpg`, so many of each class; return `folder`."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(1, each + 1):
            (folder / name / f"{name.lower()}_{number}.jpg").write_bytes(scene(name, number))
    return folder
