"""The one walk over folders: what is an image, and what is passed over and told."""

import os
import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest

from shards.errors import UserError
from shards.index import ShardSet
from shards.pack import pack
from shards.sources import open_source
from shards.sources.walk import told, walk
from shards.user_images import Unused, find


@pytest.fixture
def messy(images: Path) -> Path:
    """Class folders as they come from other systems."""
    image = min((images / "Port").iterdir())
    for name in ("@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".Trash-1000", "__MACOSX"):
        (images / name).mkdir()
        shutil.copytree(images / name, images / "Port" / name)
        shutil.copy(image, images / "Port" / name / "thumb.jpg")
    for name in ("Thumbs.db", "desktop.ini", "._port_1.jpg", "a.webp", "b.WEBP", "c.jp2", "no_ending", "blank.jpg "):
        (images / "Port" / name).touch()
    shutil.copy(image, images / "Port" / "old.JPE")
    shutil.copy(image, images / "Port" / "web.jfif")
    (images / "Port" / "around").symlink_to(images / "Port")
    (images / "Port" / "gone.txt").symlink_to("nowhere")
    os.mkfifo(images / "Port" / "pipe")
    return images


PASSED = Counter(
    {
        "hidden": 3,
        ".db": 1,
        ".ini": 1,
        ".webp": 2,
        ".jp2": 1,
        "no extension": 1,
        "'.jpg '": 1,
        "link to nothing": 1,
        "no regular file": 1,
    }
    | {"link to a folder around it": 1, "@eaDir folder": 1, "#recycle folder": 1, "lost+found folder": 1, "$RECYCLE.BIN folder": 1}
    | {"System Volume Information folder": 1}
)


def test_pack_and_predict_find_the_same_images_and_tell_the_same(messy: Path, packed: Path, tmp_path: Path) -> None:
    own, unused = ShardSet.open(packed), Unused()
    given = find([str(messy / "Port")], own, unused)
    assert unused == Unused([], PASSED)
    report = pack(open_source(messy), tmp_path / "AGAIN")
    assert {f"Port/{image.path.stem}" for image in given} == {
        key for key in map(report.shards.key, range(20)) if key.startswith("Port/")
    }
    assert Counter(report.ignored) == PASSED + Counter({"outside a class folder": 7})
    assert report.notes == (
        "left out because these formats are not read: 2 .webp, 1 .jp2; of all classes 'Port' loses 3 and keeps 8: "
        "convert them to PNG to keep them",
    )


def test_what_is_only_called_an_image_is_refused_unopened(images: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(images / "Port" / "pipe.jpg")
    (images / "Port" / "gone.png").symlink_to("nowhere")
    (images / "class").symlink_to("nowhere")
    (images / "itself").symlink_to("itself")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(images / "Port")  # a socket's path has at most 107 characters
        listening.bind("socket.tif")
        unused = Unused()
        assert len(find([str(images)], ShardSet.open(packed), unused)) == 18
    reasons = {Path(bad.name).name: bad.reason for bad in unused.bad}
    link, special = "is a link to nothing: mend or remove it", "is not a regular file"
    assert reasons == {"pipe.jpg": special, "gone.png": link, "class": link, "itself": link, "socket.tif": special}


def test_links_to_folders_and_files_are_followed(images: Path, tmp_path: Path) -> None:
    (images / "Port").rename(tmp_path / "elsewhere")
    (images / "Port").symlink_to(tmp_path / "elsewhere")
    (images / "Beach" / "linked.jpg").symlink_to(min((tmp_path / "elsewhere").iterdir()))
    assert sum(len(folder.images) for folder in walk(images)) == 19


def test_a_class_in_formats_that_are_not_read_is_refused_by_name(images: Path, tmp_path: Path) -> None:
    for path in (images / "Port").iterdir():
        path.rename(path.with_suffix(".webp"))
    with pytest.raises(UserError, match=r"Port has no JPEG, PNG or TIFF image, only 6 \.webp: convert them to PNG, or remove"):
        pack(open_source(images), tmp_path / "SET")
    shutil.rmtree(images / "Beach")
    with pytest.raises(UserError, match=r"one class only, 'Airport', .*; not read are 6 \.webp"):
        pack(open_source(images), tmp_path / "SET")
    shutil.rmtree(images / "Airport")
    with pytest.raises(UserError, match=r"DATA has no JPEG, PNG or TIFF image, only 6 \.webp: give a folder with class folders"):
        pack(open_source(images), tmp_path / "SET")
    with pytest.raises(UserError, match=r"Port holds no image .*, only 6 \.webp: give another folder"):
        find([str(images / "Port")], ShardSet(images, (), (), (), *[None] * 3), Unused())  # type: ignore[arg-type]


def test_many_kinds_are_told_in_short() -> None:
    assert told(Counter({".txt": 1000, "hidden": 2})) == "1,000 .txt, 2 hidden"
    assert told(Counter({f".{number}": 1 for number in range(20)})).endswith(".11, 8 of other kinds")
