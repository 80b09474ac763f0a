"""Near duplicates of drawn scenes: found however they were cropped, scaled, moved or encoded, and told from other scenes."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from shards import near_duplicates as module
from shards.errors import UserError
from shards.index import ShardSet
from shards.info import info
from shards.near_duplicates import correlation, near_duplicates
from shards.pack import pack
from shards.sources import open_source

SIDE, SCENES = 180, 24
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "cropped": lambda image: image.crop((2, 4, SIDE - 4, SIDE - 2)),
    "larger": lambda image: image.resize((3 * SIDE // 2,) * 2),
    "smaller": lambda image: image.resize((SIDE // 3,) * 2),
    "moved": lambda image: image.crop((3, 3, SIDE, SIDE)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "encoded": lambda image: Image.open(io.BytesIO(encoded(image, quality=40))).convert("RGB"),
}


def encoded(image: Image.Image, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG" if options else "PNG", **options)
    return data.getvalue()


def scene(number: int) -> Image.Image:
    """A ground with some fields and roofs."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(60, 160, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for size in [*[70] * 6, *[25] * 30, *[8] * 60]:
        left, top = rng.integers(-size, SIDE, 2).tolist()
        width, height = (rng.integers(size // 2, 2 * size, 2)).tolist()
        draw.rectangle((left, top, left + width, top + height), tuple(rng.integers(0, 256, 3).tolist()))
    return image


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    return [scene(number) for number in range(SCENES)]


def packed(images: dict[str, Image.Image], folder: Path) -> ShardSet:
    for name, image in images.items():
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return pack(open_source(folder / "images"), folder / "set").shards


def names(data: ShardSet, pairs: list[module.NearDuplicate]) -> set[frozenset[str]]:
    return {frozenset(data.key(sample.id) for sample in pair[:2]) for pair in pairs if pair.same_scene}


@pytest.mark.parametrize("way", COPIES)
def test_copies_are_found_and_other_scenes_are_not(scenes: list[Image.Image], tmp_path: Path, way: str) -> None:
    images = {f"own/{number}": image for number, image in enumerate(scenes)}
    images |= {f"copied/{number}": COPIES[way](image) for number, image in enumerate(scenes)}
    data = packed(images, tmp_path)
    found, _ = near_duplicates([data], 16)
    expected = {frozenset({f"own/{number}", f"copied/{number}"}) for number in range(SCENES)}
    assert names(data, found) <= expected
    assert len(names(data, found)) >= 0.9 * SCENES
    assert [pair.bits for pair in found] == sorted(pair.bits for pair in found)


def test_pixels_turn_down_what_hashes_cannot_tell_apart(scenes: list[Image.Image]) -> None:
    greys = [np.asarray(image.convert("L").resize((48, 48))) for image in scenes[:10]]
    own = [correlation(grey, grey) for grey in greys]
    other = [correlation(one, two) for one in greys for two in greys if one is not two]
    plain = np.full((48, 48), 90, np.uint8)
    assert min(own) > 0.98 > module.SAME_SCENE > max(other)
    assert correlation(plain, plain) == correlation(plain, greys[0]) == correlation(greys[0], plain) == 0


def test_several_sets_are_compared_with_each_other_only(scenes: list[Image.Image], tmp_path: Path) -> None:
    first = packed({"a/0": scenes[0], "a/1": scenes[0], "c/2": scenes[1]}, tmp_path / "1")
    second = packed({"b/same": scenes[1], "b/darker": COPIES["darker"](scenes[0]), "d/other": scenes[2]}, tmp_path / "2")
    within, between = (near_duplicates(sets, 10)[0] for sets in ([first], [first, second]))
    assert [(pair.exact, pair.bits, pair.same_scene) for pair in within] == [(True, 0, True)]
    assert {(pair.first.place, pair.second.place) for pair in between} == {(0, 1)}
    told = {(first.key(pair.first.id), second.key(pair.second.id), pair.exact) for pair in between}
    assert ("c/2", "b/same", True) in told
    assert {one for one, other, exact in told if other == "b/darker" and not exact} <= {"a/0", "a/1"}
    assert len(told) == 2  # of two exact copies one is named


def test_a_set_tells_how_many_of_its_images_look_like_another(scenes: list[Image.Image], tmp_path: Path) -> None:
    images = {f"a/{number}": image for number, image in enumerate(scenes[:4])}
    images |= {"b/1": COPIES["encoded"](scenes[1]), "b/2": COPIES["flatter"](scenes[2]), "b/3": scenes[3]}
    images |= {f"plain/{grey}": Image.new("RGB", (SIDE, SIDE), (grey,) * 3) for grey in (0, 90, 200)}
    found = info(packed(images, tmp_path)).duplicates
    assert (found.exact, found.across_classes, found.near, found.distance) == (1, 1, 2, 10)


def test_of_too_many_pairs_the_nearest_are_taken(
    scenes: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = {f"a/{way}": copy(scenes[0]) for way, copy in COPIES.items()}
    data = packed({**copies, "b/own": scenes[0]}, tmp_path)
    everything, within = near_duplicates([data], 16)
    assert (len(everything), within) == (28, 16)
    monkeypatch.setattr(module, "MOST", 12)
    nearest, within = near_duplicates([data], 16)
    assert within < 16
    assert nearest == [pair for pair in everything if pair.bits <= within]
    assert len([pair for pair in everything if pair.bits <= within + 1]) > 12 >= len(nearest) > 0
    monkeypatch.setattr(module, "MOST", 0)
    spotted = scenes[0].copy()
    spotted.putpixel((9, 9), (1, 2, 3))
    with pytest.raises(UserError, match="compare fewer images at a time"):
        near_duplicates([packed({"a/own": scenes[0], "b/spotted": spotted}, tmp_path / "2")], 16)
