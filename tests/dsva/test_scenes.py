import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsva.demo.canvas import Canvas, rectangle
from dsva.demo.classes import CLASSES, OBJECTS, SEEN, UNSEEN, SceneClass, Second, attribute_table, class_splits
from dsva.demo.grounds import GROUNDS, lay_grounds
from dsva.demo.objects import DRAWERS
from dsva.demo.scenes import draw_scene, draw_scenes
from dsva.protocol import attribute_table as attributes
from dsva.protocol.class_splits import load_split
from shards.hashing import SCENES


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    draw_scenes(folder, 2, size=48, seed=3)
    return folder


def test_folders_table_and_split_agree(drawn: Path) -> None:
    table = attributes.load(drawn / "class_attributes.json")
    split = load_split(drawn / "class_splits.json", "demo")
    folders = sorted(path.name for path in (drawn / "images").iterdir())
    assert folders == sorted(split.seen + split.unseen) == list(table.classes)
    files = sorted((drawn / "images" / "Harbour").iterdir())
    assert [path.name for path in files] == ["harbour_000.jpg", "harbour_001.jpg"]
    assert Image.open(files[0]).size == (48, 48)
    assert list(json.loads((drawn / "class_attributes.json").read_text())["groups"]) == [
        "objects",
        "materials",
        "surface_properties",
    ]


def test_same_seed_same_files_and_no_two_images_alike(drawn: Path, tmp_path: Path) -> None:
    draw_scenes(tmp_path, 2, size=48, seed=3)
    files = [path for path in sorted(drawn.rglob("*")) if path.is_file()]
    contents = [path.read_bytes() for path in files]
    assert contents == [(tmp_path / path.relative_to(drawn)).read_bytes() for path in files]
    assert len(set(contents)) == len(contents)
    other_seed = draw_scene(CLASSES[-1], 48, 4, SCENES, len(CLASSES) - 1, 1)
    same_seed = draw_scene(CLASSES[-1], 48, 3, SCENES, len(CLASSES) - 1, 1)
    stored = np.asarray(Image.open(files[-1])).astype(int)
    assert files[-1].parent.name == CLASSES[-1].name
    near, far = (np.abs(np.asarray(scene) - stored).mean() for scene in (same_seed, other_seed))
    assert near < 10 < far  # JPEG alone against another picture


def test_unseen_classes_are_new_combinations_of_what_seen_classes_show() -> None:
    table, split = attribute_table(), class_splits()["demo"]
    matrix = np.array(table["matrix"])
    names = [name for group in table["groups"].values() for name in group]
    seen, unseen = (np.array([table["classes"].index(name) for name in split[kind]]) for kind in ("seen", "unseen"))
    assert matrix.shape == (len(SEEN) + len(UNSEEN), len(names))
    assert matrix.min() == 0
    assert matrix.max() == 1
    shown = dict(zip(names, (matrix[seen] > 0).sum(0), strict=True))
    assert min(shown.values()) >= 2, shown
    assert min(count for name, count in shown.items() if (matrix[unseen, names.index(name)] > 0).any()) >= 2
    patterns = {tuple(row) for row in matrix[seen] > 0}
    assert all(tuple(row) not in patterns for row in matrix[unseen] > 0)


def test_every_object_of_a_class_can_be_drawn() -> None:
    assert set(DRAWERS) == set(OBJECTS)
    assert all(set(scene.strengths()) <= {*DRAWERS, *GROUNDS} for scene in CLASSES)


@pytest.mark.parametrize("thing", DRAWERS)
def test_a_stronger_object_covers_more_of_the_scene(thing: str) -> None:
    second = Second("water", "coast", 0.5) if thing == "boat" else None

    def changed(strength: float) -> float:
        shares = []
        for index in range(6):
            bare, full = Canvas(48, index), Canvas(48, index)
            for canvas in (bare, full):
                lay_grounds(canvas, SceneClass("Test", "soil", second))
            DRAWERS[thing](full, strength)
            shares.append((np.asarray(bare.image) != np.asarray(full.image)).any(-1).mean())
        return float(np.mean(shares))

    assert 0.01 < changed(0.3) < changed(1.0)


@pytest.mark.parametrize(("material", "channel"), [("water", 2), ("grass", 1), ("sand", 0), ("soil", 0)])
def test_grounds_have_their_colour(material: str, channel: int) -> None:
    pixels = np.asarray(draw_scene(SceneClass("Test", material), 48, 0)).reshape(-1, 3)
    assert pixels.mean(0).argmax() == channel
    assert pixels.std(0).min() > 1


@pytest.mark.parametrize("shape", ["coast", "lake", "river", "patches"])
def test_second_ground_takes_about_its_share(shape: str) -> None:
    shares = []
    for index in range(12):
        canvas = Canvas(48, index)
        lay_grounds(canvas, SceneClass("Test", "sand", Second("water", shape, 0.4)))  # type: ignore[arg-type]
        shares.append(canvas.water.mean())
    assert np.mean(shares) == pytest.approx(0.4, abs=0.05)


@given(st.integers(0, 2**32), st.integers(1, 20), st.floats(2, 12), st.booleans())
@settings(max_examples=60)
def test_places_do_not_touch_each_other_or_the_wrong_ground(seed: int, count: int, radius: float, afloat: bool) -> None:
    canvas = Canvas(32, seed)
    canvas.water[:, 40:] = True
    canvas.take_line(np.array([(0.0, 0.0), (96.0, 96.0)]), 6)
    line = canvas.taken.copy()
    places = canvas.scatter(count, radius, afloat=afloat)
    assert len(places) <= count
    gaps = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 2 * radius * np.eye(len(places))
    assert (gaps >= 2 * radius * (1 - 1e-9)).all()
    assert (np.hypot(*(places[:, None] - line[None, :, :2]).transpose(2, 0, 1)) > radius + 3).all()
    assert ((places[:, 0] >= 40) == afloat).all()


def test_rectangle_has_its_sides() -> None:
    corners = rectangle(np.array([5.0, 7.0]), 4, 2, 0.7)
    assert corners.mean(0) == pytest.approx([5, 7])
    assert np.hypot(*np.diff(corners, axis=0).T) == pytest.approx([4, 2, 4])
    assert np.arctan2(*(corners[1] - corners[0])[::-1]) == pytest.approx(0.7)
