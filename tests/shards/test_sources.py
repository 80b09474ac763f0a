"""The four kinds of sources give the same records of the same images."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from scipy.io import savemat

from shards.errors import UserError
from shards.pack import pack
from shards.sources import matfiles, open_source
from shards.sources.records import Ignored, Note, Record, Refused, file_key
from shards.sources.samples import OF_IMAGES
from shards.verify import verify


def records(path: Path, **options: Any) -> dict[str, Record]:
    found = [item for item in open_source(path, **options).records() if not isinstance(item, Note)]
    found = [item for item in found if not isinstance(item, Ignored) or item.kind != OF_IMAGES]
    assert all(isinstance(item, Record) for item in found), found
    return {item.key: item for item in found if isinstance(item, Record)}


def data_of(root: Path, record: Record) -> bytes:
    return (root / record.path).read_bytes()[record.offset :][: record.length]


def keys_of(images: Path) -> set[str]:
    return {str(path.relative_to(images).with_suffix("")) for path in images.rglob("*.jpg")}


def listed(images: Path) -> list[dict[str, str]]:
    paths = sorted(images.rglob("*.jpg"))
    return [
        {"path": str(p.relative_to(images)), "class": p.parent.name, "split": ("train", "test")[i % 2]} for i, p in enumerate(paths)
    ]


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("\n".join(["path,class,split", *(f"{r['path']},{r['class']},{r['split']}" for r in rows)]) + "\n")


def write_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_class_folders(images: Path) -> None:
    assert records(images).keys() == keys_of(images)


def test_class_folders_inside_a_folder_called_images(images: Path) -> None:
    images.rename(images.with_name("images"))
    assert records(images.parent).keys() == keys_of(images.with_name("images"))


def test_split_folders_around_classes_are_packed_and_told(images: Path, tmp_path: Path) -> None:
    for split, names in (("train", ("Airport", "Beach")), ("Valid", ("Port",))):
        (tmp_path / "SPLITS" / split).mkdir(parents=True)
        for name in names:
            shutil.copytree(images / name, tmp_path / "SPLITS" / split / name)
    (tmp_path / "SPLITS" / "readme.txt").touch()
    (tmp_path / "SPLITS" / "aid-train.txt").touch()
    (tmp_path / "SPLITS" / "Port.rar").touch()
    report = pack(open_source(tmp_path / "SPLITS"), tmp_path / "SET")
    assert (report.shards.classes, report.shards.splits) == (("Airport", "Beach", "Port"), ("", "train", "val"))
    assert report.ignored == {"outside a class folder": 3}
    assert report.notes == (
        "3 classes are taken from level 2 of the folders, <split>/<class>; splits are Valid, train (--level takes another)",
        "archives are not read: 1 .rar: unpack those that hold images, or move them away",
        "1 files beside the images are called like lists of splits, and are not read: "
        "list the images in a CSV table with the columns path, class and split to keep their splits",
    )
    made = json.loads((report.shards.root / "made.json").read_text())
    assert made["layout"] == {"levels": ["split", "class"], "splits": ["Valid", "train"], "superclasses": {}}
    as_classes = pack(open_source(tmp_path / "SPLITS", level=1), tmp_path / "OTHER").shards
    assert (as_classes.classes, as_classes.splits) == (("Valid", "train"), ("",))
    (images / "t.csv").touch()
    with pytest.raises(UserError, match=r"t\.csv is no folder: --level is for folders and tars only"):
        open_source(images / "t.csv", level=1)


def test_deeper_folders_belong_to_the_class_and_other_files_are_counted(images: Path) -> None:
    deep = images / "Port" / "2020" / "May"
    deep.mkdir(parents=True)
    min((images / "Port").glob("*.jpg")).rename(deep / "v1.2 50%.JPG")
    (images / "notes.txt").touch()
    (images / "Port" / "notes.txt").touch()
    (images / "Port" / "._port_2.jpg").touch()
    (images / "Port" / "loop").symlink_to(images / "Port")
    found = list(open_source(images).records())
    assert "Port/2020/May/v1%2E2 50%25" in {item.key for item in found if isinstance(item, Record)}
    assert sum(isinstance(item, Record) for item in found) == 18
    assert sorted(item.kind for item in found if isinstance(item, Ignored)) == [
        ".txt",
        "hidden",
        "link to a folder around it",
        "outside a class folder",
    ]
    assert [item.text for item in found if isinstance(item, Note)] == [
        "folders inside class folders belong to the class: 1 images, as in Port/2020/May/"
    ]


def test_keys_tell_all_files_apart() -> None:
    paths = ["a.b.jpg", "a%2Eb.jpg", "a/b.jpg", "a%b.jpg", "a%25b.jpg", ".a.jpg"]
    keys = [file_key("/".join(["C", *path.split("/")[:-1]]), path) for path in paths]
    assert len(set(keys)) == len(paths)
    assert all("." not in key.rpartition("/")[2] for key in keys)


def test_what_is_no_regular_file_is_refused(images: Path) -> None:
    os.mkfifo(images / "Port" / "pipe.jpg")
    (images / "Port" / "gone.jpg").symlink_to("nowhere")
    Path(os.fsdecode(bytes(images / "Port") + b"/\xff.jpg")).touch()
    refused = [item for item in open_source(images).records() if isinstance(item, Refused)]
    assert len(refused) == 3
    for reason in ("not a regular file", "is a link to nothing", "no UTF-8"):
        assert any(reason in item.reason for item in refused)


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_tables(images: Path, write: Callable[[Path, list[dict[str, str]]], None]) -> None:
    rows = listed(images)
    path = images / f"table.{write.__name__.removeprefix('write_')}"
    write(path, rows)
    found = records(path)
    assert found.keys() == keys_of(images)
    assert [(r.path, r.class_name, r.split) for r in found.values()] == [(r["path"], r["class"], r["split"]) for r in rows]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", b"file,class\na.jpg,A\n", "no column 'path'"),
        ("t.csv", b"", "no column 'path'"),
        ("t.csv", b"path,class\n\xff\xfe.jpg,A\n", "not a CSV table in UTF-8"),
        ("t.csv", b'path,class\n"a.jpg,A\n', "not a CSV table"),
        ("t.parquet", b"PAR1", "not a Parquet table"),
        ("t.xlsx", b"PK", "no source of images"),
        ("t_splits.mat", b"MATLAB", "give a"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, name: str, text: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(UserError, match=message):
        list(open_source(tmp_path / name).records())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("../secret.jpg,A", "'..' parts"),
        ("/etc/secret.jpg,A", "absolute path"),
        ("none.jpg,A", "cannot be read"),
        ("Port/x.jpg,", "lacks its path or class"),
        ("Port/x.jpg,a/b", "class name 'a/b'"),
        ("Port/x.jpg,..", "class name '..'"),
        (",A", "lacks its path"),
        ("x.jpg", "lacks its path"),
    ],
)
def test_rows_that_cannot_be_packed_are_refused(images: Path, row: str, reason: str) -> None:
    (images / "Port" / "x.jpg").touch()
    (images.parent / "secret.jpg").touch()
    (images / "t.csv").write_text(f"path,class\n{row}\n")
    [refused] = open_source(images / "t.csv").records()
    assert isinstance(refused, Refused)
    assert reason in refused.reason


def test_splits_of_a_table_are_packed(images: Path, tmp_path: Path) -> None:
    write_csv(images / "t.csv", listed(images))
    shards = pack(open_source(images / "t.csv"), tmp_path / "SET").shards
    split_of = {row["path"].removesuffix(".jpg"): row["split"] for row in listed(images)}
    assert shards.splits == ("", "test", "train")
    assert all(shards.splits[record["split"]] == split_of[shards.key(i)] for i, record in enumerate(shards.records))
    assert verify(shards.root) == []


def write_mats(folder: Path, images: Path, **changed: Any) -> Path:
    paths = sorted(images.rglob("*.jpg"))
    names = sorted({path.parent.name for path in paths})
    cells = np.array([f"/home/someone/RSSDIVCS/{path.relative_to(images)}" for path in paths], object)[:, None]
    labels = np.array([[names.index(path.parent.name) + 1] for path in paths], np.uint16)
    every = np.arange(1, len(paths) + 1)
    sets = {"train_zsl_loc": every[:12], "train_gzsl_loc": every[:10], "test_seen_loc": every[10:12], "test_unseen_loc": every[12:]}
    variables = {f"{name}_1": values[:, None] for name, values in sets.items()}
    variables |= {"allclasses_names": np.array(names, object)[:, None], "att": np.zeros((98, 3))} | changed
    savemat(folder / "res101_images.mat", {"features": np.zeros((4, len(paths))), "labels": labels, "image_files": cells})
    savemat(folder / "ann_attr_finetune_splits.mat", variables)
    return folder / "ann_attr_finetune_splits.mat"


def test_mat_files(images: Path, tmp_path: Path) -> None:
    found = records(write_mats(tmp_path, images), images=images, split_number=1)
    assert found.keys() == keys_of(images)
    assert all(record.class_name == key.split("/")[0] for key, record in found.items())
    assert [record.split for record in found.values()] == ["train"] * 10 + ["train_and_test_seen"] * 2 + ["test_unseen"] * 6


def test_labels_of_mat_files_that_contradict_the_folders(images: Path, tmp_path: Path) -> None:
    turned = write_mats(tmp_path, images, allclasses_names=np.array(["Beach", "Port", "Airport"], object)[:, None])
    source = open_source(turned, images=images, split_number=1)
    with pytest.raises(UserError, match=r"res101_images\.mat: 18 of 18 images lie in folders called as another class than theirs"):
        pack(source, tmp_path / "SET")
    (images / "port").mkdir()
    for path in sorted((images / "Beach").iterdir())[:2]:
        path.rename(images / "port" / path.name)
    write_mats(tmp_path, images, allclasses_names=np.array(["Airport", "Beach", "Port", "Beach"], object)[:, None])
    notes = pack(source, tmp_path / "SET").notes
    assert notes == ("2 of 18 images lie in folders called as another class than theirs: 2 in port/ as 'Beach'; the labels count",)


def test_mat_files_of_any_size_are_not_read(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matfiles, "MAX_CELLS", 17)
    with pytest.raises(UserError, match=r"res101_images.mat cannot be read as .*[(]a variable of more than 17 cells"):
        list(open_source(write_mats(tmp_path, images), images=images, split_number=1).records())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_seen_loc_1": [[3]]}, "share image 3 of split 1"),
        ({"test_unseen_loc_1": [[12]]}, "share image 12 of split 1"),
        ({"test_unseen_loc_1": [[0]]}, "outside the 18 images"),
        ({"test_unseen_loc_1": [[1.5]]}, "not whole numbers"),
        ({"allclasses_names": np.array([["A"]], object)}, "labels 1 to 3"),
    ],
)
def test_index_sets_are_checked(images: Path, tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(open_source(write_mats(tmp_path, images, **changed), images=images, split_number=1).records())


def test_mat_files_lacking_something(images: Path, tmp_path: Path) -> None:
    path = write_mats(tmp_path, images)
    with pytest.raises(UserError, match="no variable 'train_zsl_loc_7'"):
        list(open_source(path, images=images, split_number=7).records())
    (tmp_path / "res101_images.mat").write_bytes(path.read_bytes()[:150])
    with pytest.raises(UserError, match="cannot be read as a MATLAB file"):
        list(open_source(path, images=images).records())
    (tmp_path / "res101_images.mat").unlink()
    with pytest.raises(UserError, match="has 0 files"):
        open_source(path, images=images)


def test_a_set_packed_again_keeps_its_keys(images: Path, packed: Path) -> None:
    found = records(packed)
    assert found.keys() == keys_of(images)
    assert all(data_of(packed, record) == (images / f"{key}.jpg").read_bytes() for key, record in found.items())


def shard_writer(path: Path, images: Path, part: Callable[[Path, int], dict[str, Any]]) -> None:
    """Write as webdataset does: PAX headers, since the times are no whole seconds."""
    with webdataset.TarWriter(str(path)) as writer:
        for i, image in enumerate(sorted(images.rglob("*.jpg"))):
            writer.write({"__key__": f"{i:09d}", "jpg": image.read_bytes(), **part(image, i)})


@pytest.mark.parametrize(
    ("part", "classes"),
    [
        (lambda image, i: {"cls": i % 3}, {"0", "1", "2"}),
        (lambda image, i: {"cls": image.parent.name.encode()}, {"Airport", "Beach", "Port"}),
        (lambda image, i: {"json": {"class": image.parent.name}}, {"Airport", "Beach", "Port"}),
        (lambda image, i: {"json": {"label": 7, "caption": "a port"}}, {"7"}),
    ],
)
def test_foreign_webdatasets(images: Path, tmp_path: Path, part: Callable[[Path, int], dict[str, Any]], classes: set[str]) -> None:
    (tmp_path / "TARS").mkdir()
    shard_writer(tmp_path / "TARS" / "train-0.tar", images, part)
    found = records(tmp_path / "TARS")
    assert {record.class_name for record in found.values()} == classes
    assert [data_of(tmp_path / "TARS", r) for r in found.values()] == [p.read_bytes() for p in sorted(images.rglob("*.jpg"))]


def test_tars_made_by_tar_with_folders_and_long_names(images: Path, tmp_path: Path) -> None:
    long = images / "Port" / ("d" * 90)
    long.mkdir()
    min((images / "Port").glob("*.jpg")).rename(long / f"{'n' * 90}.jpg")
    (tmp_path / "TARS").mkdir()
    subprocess.run(["tar", "--format=gnu", "-cf", tmp_path / "TARS" / "a.tar", "-C", images, "."], check=True)
    found = records(tmp_path / "TARS")
    assert found.keys() == keys_of(images)
    assert all(data_of(tmp_path / "TARS", record) == (images / f"{key}.jpg").read_bytes() for key, record in found.items())


def tar_of(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.jpg": b"x"}, "has no class"),
        ({"a.jpg": b"x", "a.cls": b"\xff"}, "not UTF-8"),
        ({"a.jpg": b"x", "a.json": b"{"}, "not JSON"),
        ({"a.jpg": b"x", "a.cls": b" " * (2 << 20)}, "larger than 1024 KiB"),
        ({"C/a.jpg": b"x", "C/a.png": b"x"}, "one of several images of one key"),
        ({"../a.jpg": b"x", "../a.cls": b"C"}, "'..' parts"),
        ({"a.jpg": b"x", "a.json": json.dumps({"class": "A\x1b[31m"}).encode()}, "control character"),
        ({"a.jpg": b"x", "a.json": json.dumps({"class": "\ud800"}).encode()}, "no UTF-8"),
    ],
)
def test_samples_that_cannot_be_packed_are_refused(tmp_path: Path, members: dict[str, bytes], reason: str) -> None:
    tar_of(tmp_path / "a.tar", members)
    found = [item for item in open_source(tmp_path).records() if not isinstance(item, Ignored | Note)]
    assert found
    assert all(isinstance(refused, Refused) and reason in refused.reason for refused in found)


def test_sources_that_are_none(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "does not exist"), (tmp_path, "has no JPEG, PNG or TIFF image: give a folder")):
        with pytest.raises(UserError, match=message):
            list(open_source(path).records())
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(UserError, match=r"a\.tar\.gz is a compressed tar.*unpack it"):
        list(open_source(tmp_path).records())


def test_extras_are_asked_for(images: Path) -> None:
    # A fresh interpreter in which the extra cannot be imported.
    write_parquet(images / "t.parquet", listed(images))
    listing = f"list(open_source({str(images / 't.parquet')!r}).records())"
    code = f"import sys; sys.modules['pyarrow.parquet'] = None\nfrom shards.sources import open_source\n{listing}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs pyarrow: install it with `pip install 'dsva[tables]'`" in done.stderr
