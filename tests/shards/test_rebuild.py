"""An index from the tars alone."""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset

from shards.description import INDEX, KEYS, SET
from shards.errors import UserError
from shards.index import ShardSet
from shards.pack import pack
from shards.rebuild import rebuild
from shards.sources import open_source
from shards.verify import verify


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_as_packing_wrote(packed: Path, workers: int) -> None:
    before = contents(packed)
    for name in (INDEX, KEYS, SET):
        (packed / name).unlink()
    rebuild(packed, workers=workers)
    assert contents(packed) == before


def test_the_same_bytes_with_splits_and_numbers_for_names(images: Path, tmp_path: Path) -> None:
    # Folders called by numbers with gaps, which are not the labels.
    for number, folder in zip(("2", "10", "7"), sorted(images.iterdir()), strict=True):
        folder.rename(images / number)
    rows = [
        f"{path.relative_to(images)},{path.parent.name},{('', 'test', 'train')[i % 3]}"
        for i, path in enumerate(images.rglob("*.jpg"))
    ]
    (images / "t.csv").write_text("\n".join(["path,class,split", *rows]))
    packed = pack(open_source(images / "t.csv"), tmp_path / "SET").shards
    assert packed.classes == ("2", "7", "10")
    before = contents(packed.root)
    (packed.root / SET).unlink()
    assert rebuild(packed.root).splits == ("", "test", "train")
    assert contents(packed.root) == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_set_of_webdatasets_own_writer(images: Path, tmp_path: Path, workers: int) -> None:
    root, paths = tmp_path / "TARS", sorted(images.rglob("*.jpg"))
    root.mkdir()
    with webdataset.ShardWriter(str(root / "train-%03d.tar"), maxcount=4, verbose=0) as writer:
        for i, path in enumerate(paths):
            writer.write({"__key__": f"{i:06d}", "jpg": path.read_bytes(), "cls": 11 - i % 12})
    shards = rebuild(root, workers=workers)
    assert shards.classes == tuple(map(str, range(12)))
    assert [shard.name for shard in shards.shards] == [f"train-{i:03d}.tar" for i in range(5)]
    assert list(shards.labels) == [11 - i % 12 for i in range(18)]
    assert [shards.key(i) for i in range(18)] == [f"{i:06d}" for i in range(18)]
    for sample, path in enumerate(paths):
        record = shards.records[sample]
        assert shards.path(sample).read_bytes()[record["offset"] :][: record["length"]] == path.read_bytes()
    assert verify(root) == []


@pytest.mark.parametrize("form", ["gnu", "posix", "ustar"])
def test_tars_made_by_tar(images: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "TARS").mkdir()
    subprocess.run(["tar", f"--format={form}", "-cf", tmp_path / "TARS" / "a.tar", "-C", images, "."], check=True)
    shards = rebuild(tmp_path / "TARS")
    assert shards.classes == ("Airport", "Beach", "Port")
    assert {shards.key(i) for i in range(18)} == {str(p.relative_to(images).with_suffix("")) for p in images.rglob("*.jpg")}
    assert verify(tmp_path / "TARS") == []


def test_samples_with_the_same_key_are_refused(images: Path, tmp_path: Path) -> None:
    root, path = tmp_path / "TARS", next(images.rglob("*.jpg"))
    root.mkdir()
    for name in ("a", "b"):
        with webdataset.TarWriter(str(root / f"{name}.tar")) as writer:
            writer.write({"__key__": "same", "jpg": path.read_bytes(), "cls": 0})
    with pytest.raises(UserError, match=r"1 samples have a key that another has too \(same\)"):
        rebuild(root)
    assert {entry.name for entry in root.iterdir()} == {"a.tar", "b.tar"}


def damage_header(data: bytes) -> bytes:
    return data[:30] + b"?" + data[31:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "is cut off"),
        (lambda data: data[:-1024], "is cut off"),
        (damage_header, "damaged header"),
        (lambda data: b"\x1f\x8b" + data, "is no tar but a gzip file"),
        (lambda data: data + data, "data after its end mark"),
        (lambda data: data[:512] + b"\0" * 100 + data[612:], "cannot be indexed"),
        (lambda _: b"", "is no tar but empty"),
    ],
)
def test_damage_is_told_and_the_old_index_stays(packed: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    before = contents(packed)
    path = packed / "shard-000001.tar"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message) as told:
        rebuild(packed)
    assert path.name in str(told.value)
    assert contents(packed) == {**before, path.name: path.read_bytes()}


def test_a_changed_label_in_a_set_of_our_own_is_damage(packed: Path) -> None:
    # Nothing else in a tar says that a .cls file was changed.
    record = ShardSet.open(packed).records[0]
    path = packed / "shard-000000.tar"
    at = int(record["offset"]) + int(record["length"])
    at += -at % 512 + 512
    data = path.read_bytes()
    path.write_bytes(data[:at] + str((int(record["label"]) + 1) % 3).encode() + data[at + 1 :])
    with pytest.raises(UserError, match="disagree with its folders"):
        rebuild(packed)


def test_links_are_refused(images: Path, tmp_path: Path) -> None:
    path = min((images / "Port").iterdir())
    os.link(path, path.with_name("z.jpg"))
    (tmp_path / "TARS").mkdir()
    with tarfile.open(tmp_path / "TARS" / "a.tar", "w") as tar:
        tar.add(images, arcname=".")
    with pytest.raises(UserError, match="is a hard link in the tar"):
        rebuild(tmp_path / "TARS")


def test_a_folder_without_tars_or_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape("has no .tar file")):
        rebuild(tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w"):
        pass
    with pytest.raises(UserError, match="hold no JPEG"):
        rebuild(tmp_path)
    assert not (tmp_path / SET).exists()


def test_a_moved_set_is_the_same_set(packed: Path, tmp_path: Path) -> None:
    digest = ShardSet.open(packed).digest
    shutil.move(packed, tmp_path / "MOVED")
    assert ShardSet.open(tmp_path / "MOVED").digest == digest
