"""A small data set of overhead scenes, drawn from the class definitions: same seed, same files."""

import json
from functools import partial
from pathlib import Path

from PIL import Image

from dsva.demo.canvas import Canvas
from dsva.demo.classes import CLASSES, SceneClass, attribute_table, class_splits
from dsva.demo.grounds import lay_grounds
from dsva.demo.objects import DRAWERS
from shards.hashing import SCENES
from shards.process_pool import in_order


def draw_scenes(folder: Path, images_per_class: int, size: int = 96, seed: int = 0, workers: int = 1) -> None:
    """Write `folder/images/CLASS/class_NNN.jpg`, `folder/class_attributes.json` and `folder/class_splits.json`.

    Args:
        folder: created where missing; files of the same names are overwritten.
        images_per_class: of every class, seen and unseen.
        size: height and width of the images, pixels.
        seed: of everything that varies from image to image.
        workers: processes.
    """
    for _ in in_order(partial(_draw_class, folder, images_per_class, size, seed), range(len(CLASSES)), workers):
        pass
    (folder / "class_attributes.json").write_text(json.dumps(attribute_table(), indent=1))
    (folder / "class_splits.json").write_text(json.dumps(class_splits(), indent=1))


def _draw_class(folder: Path, images_per_class: int, size: int, seed: int, number: int) -> None:
    scene = CLASSES[number]
    images = folder / "images" / scene.name
    images.mkdir(parents=True, exist_ok=True)
    for index in range(images_per_class):
        draw_scene(scene, size, seed, SCENES, number, index).save(images / f"{scene.name.lower()}_{index:03d}.jpg", quality=90)


def draw_scene(scene: SceneClass, size: int, *words: int) -> Image.Image:
    """Draw one scene, RGB of side `size` pixels; `words` are the integers that make it unlike any other."""
    canvas = Canvas(size, *words)
    lay_grounds(canvas, scene)
    for thing, draw in DRAWERS.items():
        if thing in scene.objects:
            draw(canvas, scene.objects[thing])
    return canvas.finished()
