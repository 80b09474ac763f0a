"""The level of the class folders is found where public archives put it, and refused where it could be two."""

import pytest

from shards.errors import UserError
from shards.sources.layout import Layout
from shards.sources.levels import find_layout


def found(*folders: str, level: int | None = None) -> Layout:
    """Find the layout of folders with three images each, or as many as stand after a colon."""
    named = (folder.partition(":") for folder in folders)
    return find_layout({name: int(count or 3) for name, _, count in named}, "DATA", level)


def placed(layout: Layout, folder: str) -> tuple[str, str, str]:
    place = layout.place(folder)
    assert place is not None
    return place.class_name, place.split, place.key


SUPER = ("transport/airport", "transport/avenue", "water area/coast", "water area/river")


@pytest.mark.parametrize(
    ("folders", "folder", "place"),
    [
        (("a", "b"), "b", ("b", "", "b")),
        (("train", "bus", "car"), "train", ("train", "", "train")),  # a class: railway
        (("a", "b/2019", "b/2020"), "b/2019", ("b", "", "b/2019")),
        (("a", "b/x", "b/y"), "b/x", ("b", "", "b/x")),
        (("a/2019", "a/2020", "b/2019"), "a/2020", ("a", "", "a/2020")),
        (("a/images", "b/images"), "a/images", ("a", "", "a/images")),
        (("2750/a", "2750/b"), "2750/b", ("b", "", "b")),
        (("UCMerced/Images/a", "UCMerced/Images/b"), "UCMerced/Images/b", ("b", "", "b")),
        (("train/a", "train/b", "test/a"), "test/a", ("a", "test", "a/test")),
        (("Images/Training/a", "Images/Training/b", "Images/valid/b"), "Images/valid/b", ("b", "val", "b/valid")),
        (("train/images/a", "train/images/b", "val/images/a"), "val/images/a", ("a", "val", "a/val")),
        (("train/train_set/a", "train/train_set/b", "val/val_set/a"), "val/val_set/a", ("a", "val", "a/val")),
        (("a/train", "a/test", "b/train"), "a/test", ("a", "test", "a/test")),
        (SUPER, "water area/river", ("river", "", "river")),
        (
            (f"{split}/{folder}" for split in ("train", "test") for folder in SUPER),
            "test/water area/river",
            ("river", "test", "river/test"),
        ),
        (("train/a/a_0", "train/a/a_1", "train/b/b_0", "val/b/b_7"), "val/b/b_7", ("b", "val", "b/val/b_7")),
        (("images/a", "images/b", "labels/a", "labels/b"), "images/a", ("a", "", "a")),
        (("a/images", "a/masks", "b/images", "b/masks"), "a/images", ("a", "", "a/images")),
        (("train/a", "train/b", "test:2"), "train/a", ("a", "train", "a/train")),
        (("D/train/train/a", "D/train/train/b", "D/val/Valid/a"), "D/val/Valid/a", ("a", "val", "a/val")),
        (("/data/a", "/data/b"), "/data/b", ("b", "", "b")),  # an absolute name in a tar
    ],
)
def test_the_level_is_found(folders: tuple[str, ...], folder: str, place: tuple[str, str, str]) -> None:
    assert placed(found(*folders), folder) == place


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        ((), "has no class folders: put each class's images into a folder of its own, or list them in a CSV table"),
        (("",), "no class folders, and 3 images outside any"),
        (("images",), "one class only, 'images', at level 1"),
        (("train", "test"), "has images in test/, train/ and no class folders there"),
        (("train2017", "val2017"), "has images in train2017/, val2017/, which are called like splits: .* or say --level 1 if"),
        (("D/trainset", "D/testset"), "which are called like splits: .* or say --level 2 if"),
        (("train/a", "test/a", "unlabeled/a"), "has test, train beside unlabeled: leave only splits"),
        (
            ("train_set/a", "train_set/b", "test_set/a", "test_set/b"),
            "can be test_set/, train_set/ or test_set/a/, .* --level 1 or --level 2",
        ),
        (
            ("a/day", "a/night", "b/day"),
            "the classes can be a/, b/ or a/day/, a/night/, b/day/: say which with --level 1 or --level 2",
        ),
        (("a", "b/x", "b/y", "c/z"), "has images in a/, but none in b/, c/"),
        (("All", "All/a", "All/b"), "has images in All/ and in folders there"),
        (("a", "b", "b/test"), "folders of splits in class folders, b/test/, and images beside them in a/, b/"),
        (("images/a", "images/b", "extra"), "has extra, images side by side: give the folder of the class folders itself"),
        (("seen/a", "seen/b", "unseen/c", "unseen/d"), "has unseen beside seen: call every one of them train, .* or say --level 2"),
        (
            ("D/train/a", "D/val/a", "D/test_gt/a"),
            "has train, val beside test_gt: leave only splits side by side, or say --level 2",
        ),
        (("train/test/a", "train/train/b"), "has splits in splits, train/test/: give each image one split"),
        (
            ("google/12class/a", "google/12class/b", "usgs/c", "usgs/d"),
            "has images in usgs/c/, usgs/d/, but none in google/12class/",
        ),
        (("a/w/1", "a/x/2", "b/y/3", "c/z/4"), "say which with --level 1 or --level 2 or --level 3"),
        (("a", "b", ":50"), "50 images outside class folders and 6 in them"),
        (("images", "labels"), "one class only, 'images'"),
    ],
)
def test_what_could_be_two_levels_is_refused(folders: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^DATA .*{sentence}"):
        found(*folders)


def test_a_level_given_decides() -> None:
    assert placed(found("a/day", "a/night", "b/day", level=1), "a/day") == ("a", "", "a/day")
    assert placed(found(*SUPER, level=1), SUPER[0]) == ("transport", "", "transport/airport")
    assert placed(found("train", "test", level=1), "train") == ("train", "", "train")
    assert placed(found("train/a/2019", "test/a/2019", level=2), "test/a/2019") == ("a", "test", "a/test/2019")
    assert placed(found("a", level=1), "a") == ("a", "", "a")
    with pytest.raises(UserError, match="down to level 1 and none at level 2: give --level 1 to 1"):
        found("a", "b", level=2)
    with pytest.raises(
        UserError, match="has the class 'x' in several super-classes, a/x, b/x: rename one, or call the folders train"
    ):
        found("a/x", "b/x", level=2)


def test_what_is_left_out_has_no_place() -> None:
    layout = found("images/a", "images/b", "labels/a", "images:1")
    assert [layout.place(folder) for folder in ("", "images", "labels", "labels/a")] == [None] * 4


def test_plain_class_folders_are_no_news_and_all_else_is_told() -> None:
    for plain in (found("a", "b"), found("images/a", "images/b")):
        assert (list(plain.notes()), plain.facts()) == ([], {})
    layout = found(*(f"All/{split}/{folder}" for split in ("train", "test") for folder in (*SUPER, "water area/river/x")), "All:2")
    assert list(layout.notes()) == [
        "4 classes are taken from level 4 of the folders, All/<split>/<superclass>/<class>; splits are test, train; "
        "super-classes, kept in made.json, are transport, water area (--level takes another)",
        "left out because they lie outside the class folders: 2 images",
        "folders inside class folders belong to the class: 6 images, as in All/test/water area/river/x/",
    ]
    assert layout.facts() == {
        "levels": ["around", "split", "superclass", "class"],
        "splits": ["test", "train"],
        "superclasses": {"transport": ["airport", "avenue"], "water area": ["coast", "river"]},
    }
    assert next(found("images/a", "images/b", "labels/a").notes()) == "left out as masks: 3 images in labels/"
