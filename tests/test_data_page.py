"""docs/data.md: each line packs the folders that it is for, drawn here as the page shows them."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from shards.index import ShardSet
from shards.pack import pack
from shards.sources import open_source
from tests.helpers.pages import ROOT, commands, invoke

PAGE = "docs/data.md"
OTHERS = ["forest", "river"]  # classes beside the one that the page shows
EACH = 2
# Name of the set, a path in it, level of the class folders.
SECTION = re.compile(r"^## (.+?)$.*?^- Folders: `(\S+)`; the classes are level (\d)$", re.MULTILINE | re.DOTALL)
SETS = {name: (Path(path), path.endswith("/"), int(level)) for name, path, level in SECTION.findall((ROOT / PAGE).read_text())}


def draw(name: str) -> tuple[Path, set[str]]:
    """Draw some images where the page says that the set has them; return its folder, and the classes."""
    path, only_class, level = SETS[name]
    shown, file = (path, "1.jpg") if only_class else (path.parent, path.name)
    classes = {shown.name, *OTHERS}
    rng = np.random.default_rng(0)
    for folder in classes:
        for number in range(EACH):
            image = Path("DATA") / shown.parent / folder / re.sub(r"\d+", str(number), file)
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(image)
    root = Path("DATA") / path.parts[0]
    assert len((Path("DATA") / shown).relative_to(root).parts) == level
    (root / "readme.txt").write_text("the authors' own words")
    return root, classes


@pytest.mark.parametrize("name", SETS)
def test_line_takes_the_classes_of_the_folders_and_none_needs_level(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root, classes = draw(name)
    [line] = [command for command in commands(PAGE) if command[:3] == ["dsva", "pack", str(root)]]
    invoke(line)
    made = ShardSet.open(Path(line[3]))
    assert set(made.classes) == classes
    assert len(made) == EACH * len(classes)
    by_level = pack(open_source(root, level=SETS[name][2]), tmp_path / "by_level")
    assert by_level.shards.digest == made.digest, "--level with the number of the page takes the same"


def test_line_for_the_published_files_takes_their_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root, classes = draw("RSSDIVCS")
    names, images = sorted(classes), sorted(root.rglob("*.jpg"))
    [line] = [command for command in commands(PAGE) if "--images" in command]
    splits = Path(line[2])
    splits.parent.mkdir()
    labels = [names.index(image.parent.name) + 1 for image in images]
    paths = np.array([f"D:/somebody/RSSDIVCS/RSSDIVCS/{image.relative_to(root)}" for image in images], object)
    savemat(splits.with_name("res101_images.mat"), {"labels": np.array(labels)[:, None], "image_files": paths[:, None]})
    sets = {"train_zsl": [1], "train_gzsl": [1], "test_seen": [2], "test_unseen": range(3, len(images) + 1)}
    indices = {f"{key}_loc_0": np.array(value)[:, None] for key, value in sets.items()}
    savemat(splits, {"allclasses_names": np.array(names, object)[:, None], **indices})
    assert "6 images of 3 classes" in invoke(line)
    assert set(ShardSet.open(Path(line[3])).splits) >= {"train", "test_seen", "test_unseen"}


def test_every_line_is_tried() -> None:
    lines = commands(PAGE)
    assert len(lines) == len(SETS) + 1 == 7
    assert {Path(line[2]).parts[1] for line in lines if "--images" not in line} == {path.parts[0] for path, _, _ in SETS.values()}
