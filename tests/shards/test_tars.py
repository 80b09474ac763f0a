"""WebDataset tars as people have them: nothing in them is lost or mixed up without a word."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from shards.errors import UserError
from shards.index import ShardSet
from shards.merge import PackReport
from shards.pack import pack
from shards.rebuild import rebuild
from shards.sources import open_source
from shards.sources.records import Ignored, Note
from shards.sources.tar_files import splits_of
from shards.tarscan import DamagedTar, members
from shards.verify import verify
from tests.helpers.heard import heard

Members = Sequence[tuple[str, bytes]]
_seeds = count()


def jpeg() -> bytes:
    """Return a small picture that no other is like."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(next(_seeds)).integers(0, 256, (24, 24, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


def write(path: Path, held: Members, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in held:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def said(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def told(names: Sequence[str], classes: Sequence[str] = ("0", "1")) -> Members:
    """Return samples with a .cls file each, of the classes in turn."""
    pairs = ((f"{name}.jpg", f"{name}.cls", classes[i % len(classes)]) for i, name in enumerate(names))
    return [member for image, cls, text in pairs for member in ((image, jpeg()), (cls, text.encode()))]


def in_folders(*folders: str, each: int = 2) -> Members:
    return [(f"{folder}/{i}.jpg", jpeg()) for folder in folders for i in range(each)]


def packed(root: Path, *, skip_bad: bool = False, level: int | None = None) -> PackReport:
    report = pack(open_source(root, level=level, skip_bad=skip_bad), root.with_name(f"{root.name}_SET"), skip_bad=skip_bad)
    assert verify(report.shards.root) == []
    return report


def indexed(root: Path) -> tuple[ShardSet, str]:
    """Return the set of tars as they lie, and what was said."""
    with heard() as said:
        shards = rebuild(root)
    assert verify(root) == []
    return shards, said.getvalue()


def classes_of(shards: ShardSet) -> dict[str, str]:
    return {shards.key(sample): shards.classes[label] for sample, label in enumerate(shards.labels)}


def splits(shards: ShardSet) -> dict[str, str]:
    return {shards.key(sample): shards.splits[record["split"]] for sample, record in enumerate(shards.records)}


def images(shards: ShardSet) -> set[bytes]:
    data = (shards.path(sample).read_bytes()[r["offset"] :][: r["length"]] for sample, r in enumerate(shards.records))
    return set(data)


def test_members_that_do_not_lie_together(tmp_path: Path) -> None:
    pictures = [(f"{i}.jpg", jpeg()) for i in range(4)]
    of_class = [(f"{i}.json", said(**{"class": "ab"[i % 2], "split": ("train", "test")[i // 2]})) for i in range(4)]
    write(tmp_path / "T" / "a.tar", [*pictures, *of_class])
    shards = packed(tmp_path / "T").shards
    assert classes_of(shards) == {"a/0": "a", "b/1": "b", "a/2": "a", "b/3": "b"}
    assert splits(shards) == {"a/0": "train", "b/1": "train", "a/2": "test", "b/3": "test"}
    shards, _ = indexed(tmp_path / "T")
    assert splits(shards) == {"0": "train", "1": "train", "2": "test", "3": "test"}


def test_every_member_is_counted(tmp_path: Path) -> None:
    held = [
        *told(["a", "b", "c"]),
        ("a.txt", b"x"),
        ("b.npy", b"x"),
        ("._a.jpg", b"x"),
        ("d.webp", b"x"),
        ("d.cls", b"0"),
        ("e", b""),
    ]
    path = write(tmp_path / "T" / "a.tar", held)
    found = [item for item in open_source(tmp_path / "T").records() if not isinstance(item, Note)]
    assert len(found) == len(list(members(path))) == len(held)
    report = packed(tmp_path / "T", skip_bad=True)
    assert len(report.shards) + len(report.skipped) + sum(report.ignored.values()) == len(held)
    assert report.ignored == {
        ".cls and .json of images": 3,
        ".cls of no image": 1,
        ".npy": 1,
        ".txt": 1,
        "hidden": 1,
        "no extension": 1,
    }
    assert "not taken: 1 .txt, as a.tar: a.txt" in report.notes


@pytest.mark.parametrize("ending", [".webp", ".gif", ".bmp", ".npy"])
def test_a_class_in_a_format_that_is_not_read(tmp_path: Path, ending: str) -> None:
    lake = [(f"lake/{i}{ending}", b"x") for i in range(5)]
    write(tmp_path / "T" / "a.tar", [*in_folders("beach", "port"), *lake])
    with pytest.raises(UserError, match=rf"5 images cannot be packed \(a.tar: lake/0\{ending} is in a format that is not read"):
        packed(tmp_path / "T")
    with pytest.raises(UserError, match=r"5 samples cannot be indexed .* `dsva pack .* NEW --skip-bad`"):
        rebuild(tmp_path / "T")
    assert len(packed(tmp_path / "T", skip_bad=True).skipped) == 5


@pytest.mark.parametrize(
    ("names", "keys", "indexed_keys"),
    [
        (["s.v2", "t"], {"0/s%2Ev2", "1/t"}, {"s", "t"}),  # as WebDataset's clients see them
        (["s.1", "s.2", "s.3.x"], {"0/s%2E1", "1/s%2E2", "0/s%2E3%2Ex"}, {"s%2E1", "s%2E2", "s%2E3%2Ex"}),
    ],
)
def test_dots_in_names(tmp_path: Path, names: list[str], keys: set[str], indexed_keys: set[str]) -> None:
    held = told(names)
    write(tmp_path / "T" / "a.tar", held)
    shards = packed(tmp_path / "T").shards
    assert classes_of(shards).keys() == keys
    assert images(shards) == {data for name, data in held if name.endswith(".jpg")}
    assert classes_of(indexed(tmp_path / "T")[0]).keys() == indexed_keys


def test_keys_of_names_with_dots_are_those_that_webdataset_reads(tmp_path: Path) -> None:
    path = write(tmp_path / "T" / "a.tar", told(["s.v2", "t.2019.01", "u"]))
    shards, _ = indexed(tmp_path / "T")
    read = webdataset.WebDataset([str(path)], shardshuffle=False)
    assert [sample["__key__"] for sample in read] == [shards.key(i) for i in range(3)]


def test_files_of_the_key_and_of_the_image_tell_together(tmp_path: Path) -> None:
    held = [("s.v2.jpg", jpeg()), ("s.v2.cls", b"a"), ("s.json", said(split="test")), *told(["t"], ["b"])]
    write(tmp_path / "T" / "a.tar", held)
    assert splits(packed(tmp_path / "T").shards) == {"a/s%2Ev2": "test", "b/t": ""}


def test_numbered_names_in_class_folders_are_scenes(tmp_path: Path) -> None:
    write(tmp_path / "T" / "a.tar", [(f"{c}/a.{i}.jpg", jpeg()) for c in ("beach", "port") for i in (1, 2)])
    assert classes_of(packed(tmp_path / "T").shards).keys() == {"beach/a%2E1", "beach/a%2E2", "port/a%2E1", "port/a%2E2"}


@pytest.mark.parametrize("second", ["x.mask.png", "x.seg.png", "x.nir.tif", "x.JPG", "x.png"])
def test_several_images_of_one_sample_are_never_chosen_from(tmp_path: Path, second: str) -> None:
    write(tmp_path / "T" / "a.tar", [*told(["y", "z"]), ("x.jpg", jpeg()), (second, jpeg()), ("x.cls", b"0")])
    named = rf"x\.jpg is one of several images of one key \(x\.jpg, {second}\)"
    with pytest.raises(UserError, match=named):
        packed(tmp_path / "T")
    with pytest.raises(UserError, match=named):
        rebuild(tmp_path / "T")


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    first, last = jpeg(), jpeg()
    path = write(tmp_path / "T" / "a.tar", [("beach/0.jpg", first), *in_folders("port"), ("./beach/0.jpg", last)])
    again = r"a\.tar: beach/0\.jpg is in the tar again, and the later one counts, as for `tar`"
    for refusing in (packed, rebuild):
        with pytest.raises(UserError, match=again):
            refusing(tmp_path / "T")
    assert last in images(packed(tmp_path / "T", skip_bad=True).shards)
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "OUT", filter="data")
    assert (tmp_path / "OUT" / "beach" / "0.jpg").read_bytes() == last


def test_numbering_that_begins_again_in_each_tar(tmp_path: Path) -> None:
    held = {name: told(["000000", "000001"]) for name in ("p-0", "p-1", "q/p-0")}
    for name, of in held.items():
        write(tmp_path / "T" / f"{name}.tar", of)
    shards = packed(tmp_path / "T").shards
    assert classes_of(shards).keys() == {f"{i}/{name}/00000{i}" for name in held for i in range(2)}
    assert len(images(shards)) == 6
    (tmp_path / "T" / "q" / "p-0.tar").unlink()
    with pytest.raises(
        UserError, match=r"an index cannot change the tars: pack them .* `dsva pack .*T NEW`, whose keys hold the names"
    ):
        rebuild(tmp_path / "T")


def test_keys_that_differ_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "T" / f"{name}.tar", told([f"{name}0", f"{name}1"]))
    assert classes_of(packed(tmp_path / "T").shards).keys() == {"0/a0", "1/a1", "0/b0", "1/b1"}


def test_what_is_whole_of_a_tar_that_is_cut_off(tmp_path: Path) -> None:
    whole = told([f"w{i}" for i in range(4)])
    write(tmp_path / "T" / "a.tar", whole)
    path = write(tmp_path / "T" / "b.tar", told([f"c{i}" for i in range(4)]))
    third = next(member.offset for member in members(path) if member.name == "c2.cls")
    data = path.read_bytes()
    # In the third sample's .cls file, in the header of it, and in its image: the second one's .cls may have been the last.
    for size in (third, third - 100, third - 700):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=r"b\.tar is cut off \(at byte \d+\): fetch or pack it again.*--skip-bad"):
            packed(tmp_path / "T")
        with pytest.raises(UserError, match=r"b\.tar is cut off"):
            rebuild(tmp_path / "T")
        report = pack(open_source(tmp_path / "T", skip_bad=True), tmp_path / f"SET{size}", skip_bad=True)
        kept = {"0/c0", "1/c1"} if size > third - 600 else {"0/c0"}
        assert {key for key in classes_of(report.shards) if "c" in key} == kept
        assert any(refused.path == "b.tar" and "is cut off" in refused.reason for refused in report.skipped)


def test_a_sample_whose_label_was_cut_off_is_not_taken_by_its_folder(tmp_path: Path) -> None:
    pictures, labels = in_folders("x", each=3), [(f"x/{i}.cls", b"%d" % (i % 2)) for i in range(3)]
    write(tmp_path / "T" / "a.tar", told(["a", "b"]))
    path = write(tmp_path / "T" / "b.tar", [*pictures, *labels])
    cut = next(member.offset for member in members(path) if member.name == "x/2.cls")
    path.write_bytes(path.read_bytes()[:cut])
    report = packed(tmp_path / "T", skip_bad=True)
    assert classes_of(report.shards).keys() == {"0/a", "1/b", "0/x/0"}  # of x/1 more may have followed
    assert any("may have lost its .cls file" in refused.reason for refused in report.skipped)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty: fetch it again"),
        (b"\n<!DOCTYPE html><html>404", "an HTML page"),
        (b"\x1f\x8b\x08" + bytes(900), "a gzip file: unpack it with gunzip"),
        (b"PK\x03\x04" + bytes(900), "a ZIP file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "a Git LFS pointer.*git lfs pull"),
        (bytes(range(256)) * 8, r"\(at byte 0\)"),
    ],
)
def test_what_is_called_a_tar_and_is_none(tmp_path: Path, data: bytes, what: str) -> None:
    write(tmp_path / "T" / "a.tar", in_folders("beach", "port"))
    (tmp_path / "T" / "b.tar").write_bytes(data)
    for refusing in (packed, rebuild):
        with pytest.raises(UserError, match=rf"b\.tar is no tar.*{what}"):
            refusing(tmp_path / "T")
    report = packed(tmp_path / "T", skip_bad=True)
    assert len(report.shards) == 4
    assert [refused.path for refused in report.skipped] == ["b.tar"]


def test_compressed_tars_beside_plain_ones_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "T" / "a.tar", in_folders("beach", "port"))
    (tmp_path / "T" / "b.tar.gz").write_bytes(b"x")
    for refusing in (packed, rebuild):
        with pytest.raises(UserError, match=r"b\.tar\.gz is a compressed tar"):
            refusing(tmp_path / "T")


def test_what_only_begins_like_a_compressed_tar_is_told(tmp_path: Path) -> None:
    write(tmp_path / "T" / "sub" / "a.tar", in_folders("beach", "port"))
    for ending in ("part", "crdownload", "idx", "md5"):
        (tmp_path / "T" / "sub" / f"b.tar.{ending}").write_bytes(b"x")
    notes = packed(tmp_path / "T").notes
    assert "not taken: 4 beside the tars, as b.tar.crdownload, b.tar.idx, b.tar.md5" in notes


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_a_link_is_refused_and_the_rest_is_not(tmp_path: Path, kind: bytes) -> None:
    path = write(tmp_path / "T" / "a.tar", in_folders("beach", "port"))
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("port/link.jpg")
        link.type, link.linkname = kind, "port/0.jpg"
        tar.addfile(link)
    report = packed(tmp_path / "T", skip_bad=True)
    assert len(report.shards) == 4
    assert [(bad.path, "dereference" in bad.reason) for bad in report.skipped] == [("a.tar: port/link.jpg", True)]


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_sparse_files_are_refused_and_what_follows_is_read(tmp_path: Path, form: str) -> None:
    import subprocess

    for folder in ("beach", "port"):
        (tmp_path / "DATA" / folder).mkdir(parents=True)
        (tmp_path / "DATA" / folder / "z.jpg").write_bytes(jpeg())
    with (tmp_path / "DATA" / "beach" / "a.jpg").open("wb") as file:
        for part in range(40):  # more parts than the first header holds
            file.seek(part << 17)
            file.write(b"x" * 4096)
    (tmp_path / "T").mkdir()
    into = ["-cf", f"{tmp_path}/T/a.tar", "-C", f"{tmp_path}/DATA", "."]
    subprocess.run(["tar", "--sort=name", "--sparse", f"--format={form}", *into], check=True)
    report = packed(tmp_path / "T", skip_bad=True)
    assert classes_of(report.shards).keys() == {"beach/z", "port/z"}
    assert ["--sparse" in bad.reason for bad in report.skipped] == [True]


def test_a_name_that_is_no_utf8_stops_one_sample(tmp_path: Path) -> None:
    held = [*in_folders("beach", "port"), ("port/for\udceat.jpg", jpeg())]
    write(tmp_path / "T" / "a.tar", held, tarfile.GNU_FORMAT)
    report = packed(tmp_path / "T", skip_bad=True)
    assert len(report.shards) == 4
    assert "no UTF-8" in report.skipped[0].reason


@pytest.mark.parametrize(
    ("tars", "wanted"),
    [
        (["train-000.tar", "val-000.tar", "test-000.tar"], ["train", "val", "test"]),
        (["aid_train_00.tar", "aid_TEST_00.tar"], ["train", "test"]),
        (["train/0.tar", "validation/0.tar"], ["train", "val"]),
        (["eurosat10-train-0.tar", "whu-rs19-validation-0.tar", "aid30_test_seen_0.tar"], ["train", "val", "test_seen"]),
        (["trainset-0.tar", "valset-0.tar"], []),
        (["shard-0.tar", "shard-1.tar"], []),
        (["train-0.tar", "extra-0.tar"], []),
    ],
)
def test_splits_by_the_names_of_tars(tars: list[str], wanted: list[str]) -> None:
    found, notes = splits_of(tars)
    assert list(found.values()) == wanted
    assert bool(notes) == any("train" in name for name in tars)


def test_splits_by_the_names_of_tars_are_packed_and_indexed(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / "T" / f"{split}-0.tar", told([f"{split}0", f"{split}1"]))
    report = packed(tmp_path / "T")
    wanted = {f"{i}/{split}{i}": split for split in ("train", "test") for i in range(2)}
    assert splits(report.shards) == wanted
    assert any("splits are taken from the names of the tars: test (1), train (1)" in note for note in report.notes)
    shards, said = indexed(tmp_path / "T")
    assert splits(shards) == {key.partition("/")[2]: split for key, split in wanted.items()}
    assert "splits are taken from the names of the tars" in said


def test_splits_that_contradict_are_refused(tmp_path: Path) -> None:
    held = [("a.jpg", jpeg()), ("a.json", said(**{"class": "q", "split": "test"})), ("b.jpg", jpeg()), ("b.cls", b"r")]
    write(tmp_path / "T" / "train-0.tar", held)
    for refusing, message in ((packed, "several splits"), (rebuild, "'test' in its .json file and 'train' by its tar's name")):
        with pytest.raises(UserError, match=message):
            refusing(tmp_path / "T")


@pytest.mark.parametrize(
    ("folders", "classes", "of_first"),
    [
        (("train/beach", "train/port", "test/beach", "test/port"), ("beach", "port"), "train"),
        (("2750/beach", "2750/port"), ("beach", "port"), ""),
        (("Images/beach", "Images/port"), ("beach", "port"), ""),
        (("water/river", "water/lake", "transport/airport", "transport/road"), ("airport", "lake", "river", "road"), ""),
    ],
)
def test_the_level_of_class_folders_in_tars(
    tmp_path: Path, folders: tuple[str, ...], classes: tuple[str, ...], of_first: str
) -> None:
    write(tmp_path / "T" / "a.tar", in_folders(*folders))
    report = packed(tmp_path / "T")
    shards, said = indexed(tmp_path / "T")
    assert report.shards.classes == shards.classes == classes
    assert splits(shards)[f"{folders[0]}/0"] == of_first
    assert "classes are taken from level 2" in "".join(report.notes)
    assert "classes are taken from level 2" in said


def test_a_single_class_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "T" / "a.tar", in_folders("Images"))
    for refusing in (packed, rebuild):
        with pytest.raises(UserError, match="has one class only, 'Images'"):
            refusing(tmp_path / "T")
    assert packed(tmp_path / "T", level=1).shards.classes == ("Images",)


def test_labels_that_contradict_the_folders(tmp_path: Path) -> None:
    places = [("beach", "beach"), ("beach", "beach"), ("port", "port"), ("port", "beach"), ("port", "port")]
    pairs = [((f"{folder}/{i}.jpg", jpeg()), (f"{folder}/{i}.cls", label.encode())) for i, (folder, label) in enumerate(places)]
    held = [member for pair in pairs for member in pair]
    write(tmp_path / "T" / "a.tar", held)
    assert any("1 in port/ as 'beach'" in note for note in packed(tmp_path / "T").notes)
    assert "is not that of their folder: 'beach' in port/ (1)" in indexed(tmp_path / "T")[1]
    swapped = {b"beach": b"port", b"port": b"beach"}
    write(tmp_path / "U" / "a.tar", [(name, swapped.get(content, content)) for name, content in held])
    for refusing in (packed, rebuild):
        with pytest.raises(UserError, match=r"4 of 5 images lie|class of 4 images"):
            refusing(tmp_path / "U")


def test_numbers_with_gaps_are_called_by_their_folders(tmp_path: Path) -> None:
    numbers = {"beach": b"2", "port": b"7"}
    held = [member for f in numbers for i in range(2) for member in ((f"{f}/{i}.jpg", jpeg()), (f"{f}/{i}.cls", numbers[f]))]
    write(tmp_path / "T" / "a.tar", held)
    assert classes_of(packed(tmp_path / "T").shards) == {f"{f}/{i}": f for f in ("beach", "port") for i in range(2)}
    shards, said = indexed(tmp_path / "T")
    assert shards.classes == ("2", "7")
    assert "classes keep their numbers for names" in said


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"class": "a"}, "a"),
        ({" Label ": " a "}, "a"),
        ({"class": 3.0}, "3"),
        ({"class": None, "label": 0}, "0"),
        ({"label": 3, "class_name": "a"}, "a"),
        ({"class": "a", "subset": None}, "a"),
        ({"class": "a", "Subset": "test"}, "'Subset' looks like a split and would be ignored: call it split"),
        ({"class": "a", "isTrain": False}, "'isTrain' looks like a split"),
        ({"category": "a"}, "no class: neither a .cls file, nor a .json file with one of class, label, class_name, cls"),
        ({"class": ["a"]}, "'class' is \\[\"a\"\\]"),
        ({"class": {"name": "a"}}, "'class' is"),
        ({"class": True}, "'class' is true"),
        ({"class": "a", "split": 1.5}, "'split' is 1.5"),
        ({"class": "other"}, "'a' in its .cls file and 'other' in its .json file"),
    ],
)
def test_values_of_a_json(tmp_path: Path, fields: Mapping[str, object], wanted: str) -> None:
    cls = [("x.cls", b"a")] if fields.get("class") == "other" else []
    write(tmp_path / "T" / "a.tar", [("x.jpg", jpeg()), ("x.json", b"\xef\xbb\xbf" + said(**fields)), *cls, *told(["y"], ["q"])])
    if wanted.isalnum():
        assert set(packed(tmp_path / "T").shards.classes) == {wanted, "q"}
    else:
        with pytest.raises(UserError, match=wanted):
            packed(tmp_path / "T")


def test_classes_that_people_read_as_one_are_no_index(tmp_path: Path) -> None:
    write(tmp_path / "T" / "a.tar", told(["a", "b"], ["Bare Land", "bare_land"]))
    for refusing in (packed, rebuild):
        with pytest.raises(UserError, match=r"T has the classes 'Bare Land' and 'bare_land'.*, which people read as one"):
            refusing(tmp_path / "T")


def test_a_class_whose_images_are_all_refused_is_told(tmp_path: Path) -> None:
    write(tmp_path / "T" / "a.tar", [("a/1.jpg", jpeg()), ("a/1.JPG", jpeg()), ("b/1.jpg", jpeg())])
    with pytest.raises(
        UserError, match=r"one class only, 'b'.*; 2 images are refused, the first: a\.tar: a/1\.jpg is one of several"
    ):
        packed(tmp_path / "T")


def test_what_lies_beside_the_tars_is_told(tmp_path: Path) -> None:
    write(tmp_path / "T" / "a.tar", in_folders("beach", "port"))
    (tmp_path / "T" / "labels.csv").write_text("x")
    (tmp_path / "T" / "old.tar").mkdir()
    assert Ignored("beside the tars", "labels.csv") in list(open_source(tmp_path / "T").records())
    assert "not taken: 2 beside the tars, as labels.csv, old.tar/" in packed(tmp_path / "T").notes
    write(tmp_path / "T" / "old.tar" / "b.tar", in_folders("beach"))
    with pytest.raises(UserError, match=r"b\.tar is in a sub-folder, where an index cannot have it"):
        rebuild(tmp_path / "T")


def test_a_damaged_tar_says_so_from_another_process() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(DamagedTar("a.tar", "is cut off")))  # noqa: S301
    assert (str(error), error.reason) == ("a.tar is cut off", "is cut off")
