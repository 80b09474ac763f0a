"""Packing: what is written, what stops it, and what survives a crash."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset
import xxhash
from PIL import Image

from shards.errors import UserError
from shards.image_checks import inspect
from shards.index import ShardSet
from shards.pack import pack
from shards.sources import open_source
from shards.sources.records import Found
from shards.verify import verify
from tests.helpers.programs import environment, helper

SHARD_BYTES = 100_000


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_image_comes_back_with_its_class(images: Path, packed: Path) -> None:
    shards = ShardSet.open(packed)
    assert shards.classes == ("Airport", "Beach", "Port")
    assert len(shards.shards) > 1
    assert sorted(map(shards.key, range(len(shards)))) == sorted(
        str(path.relative_to(images).with_suffix("")) for path in images.rglob("*.jpg")
    )
    for sample, record in enumerate(shards.records):
        data = (images / f"{shards.key(sample)}.jpg").read_bytes()
        tar = shards.path(sample).read_bytes()
        facts = inspect(data)
        assert tar[record["offset"] :][: record["length"]] == data
        assert record["checksum"] == xxhash.xxh3_64_intdigest(data)
        assert (record["width"], record["height"], record["phash"]) == (facts.width, facts.height, facts.phash)
        assert shards.key(sample).startswith(shards.classes[record["label"]] + "/")


def test_tars_are_plain_for_tar_and_webdataset(images: Path, packed: Path) -> None:
    shards = ShardSet.open(packed)
    paths = [str(packed / shard.name) for shard in shards.shards]
    read = list(webdataset.WebDataset(paths, shardshuffle=False))
    assert [sample["__key__"] for sample in read] == [shards.key(i) for i in range(len(shards))]
    assert [int(sample["cls"]) for sample in read] == list(shards.labels)
    assert [sample["jpg"] for sample in read] == [(images / f"{sample['__key__']}.jpg").read_bytes() for sample in read]
    with tarfile.open(paths[0]) as tar:
        assert all((m.mode, m.mtime, m.uid, m.gid, m.pax_headers) == (0o644, 0, 0, 0, {}) for m in tar)
    subprocess.run(["tar", "-tf", paths[0]], check=True, capture_output=True)


def test_shards_are_not_sorted_by_class(packed: Path) -> None:
    shards = ShardSet.open(packed)
    first = shards.labels[shards.records["shard"] == 0]
    assert len(np.unique(first)) > 1
    assert (np.diff(shards.labels) < 0).any()


def test_any_number_of_workers_writes_the_same_bytes(images: Path, packed: Path, tmp_path: Path) -> None:
    pack(open_source(images), tmp_path / "TWO", shard_bytes=SHARD_BYTES, workers=2)
    assert contents(tmp_path / "TWO") == contents(packed)


def test_a_place_that_cannot_be_is_left_as_it_was(images: Path, tmp_path: Path) -> None:
    (tmp_path / "SET").symlink_to(tmp_path / "NOTHING")
    with pytest.raises(UserError, match="SET exists already"):
        pack(open_source(images), tmp_path / "SET")
    (tmp_path / "EMPTY" / "Port").mkdir(parents=True)
    with pytest.raises(UserError, match="has no JPEG, PNG or TIFF image"):
        pack(open_source(tmp_path / "EMPTY"), tmp_path / "OTHER")
    assert not (tmp_path / "OTHER.partial").exists()


def test_a_set_among_the_class_folders_is_no_class(images: Path, packed: Path) -> None:
    before = contents(packed)
    inside = pack(open_source(images), images / "SET", shard_bytes=SHARD_BYTES)
    again = pack(open_source(images), images / "Port" / "SET", shard_bytes=SHARD_BYTES)
    for made in (inside, again):
        assert {name: data for name, data in contents(made.shards.root).items() if name != "made.json"} == {
            name: data for name, data in before.items() if name != "made.json"
        }
    assert again.ignored == {"outside a class folder": 1, "shard set": 1}


def crash(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*helper("crash"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment())


def test_killed_at_any_moment_it_continues_to_the_same_bytes(images: Path, tmp_path: Path) -> None:
    done = crash(images, tmp_path / "AGAIN", 150_000)
    assert done.stderr == ""
    assert int(done.stdout) > 20


def test_finished_shards_are_kept_and_changes_are_noticed(images: Path, packed: Path, tmp_path: Path) -> None:
    target, work = tmp_path / "AGAIN", tmp_path / "AGAIN.partial"
    assert crash(images, target, SHARD_BYTES, 8).returncode == -signal.SIGKILL
    first = work / "set" / "shard-000000.tar"
    assert (work / "000000.json").exists()
    before = first.stat().st_mtime_ns
    assert crash(images, target, SHARD_BYTES, 8).returncode == -signal.SIGKILL
    assert first.stat().st_mtime_ns == before
    os.utime(next(images.rglob("*.jpg")), ns=(0, 0))
    pack(open_source(images), target, shard_bytes=SHARD_BYTES)
    assert (target / first.name).stat().st_mtime_ns != before
    assert contents(target) == contents(packed)


def test_a_finished_shard_whose_tar_has_gone_is_made_again(images: Path, packed: Path, tmp_path: Path) -> None:
    target, work = tmp_path / "AGAIN", tmp_path / "AGAIN.partial"
    assert crash(images, target, SHARD_BYTES, 8).returncode == -signal.SIGKILL
    (work / "set" / "shard-000000.tar").unlink()
    pack(open_source(images), target, shard_bytes=SHARD_BYTES)
    assert contents(target) == contents(packed)


def test_children_do_not_outlive_a_killed_parent() -> None:
    job = "print('up', flush=True); import time; time.sleep(600)"
    code = f"from shards.process_pool import in_order\nif __name__ == '__main__': list(in_order(exec, [{job!r}] * 2, 2))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == [b"up\n"] * 2
        parent.kill()
        # Ends only when the last process that holds the pipe has ended.
        assert parent.stdout.read() == b""


def spoil(images: Path) -> dict[str, str]:
    """Add bad images; return what is said of each."""
    good = min((images / "Port").iterdir()).read_bytes()
    out = io.BytesIO()
    Image.new("I;16", (8, 8)).save(out, "TIFF")
    bad = {
        "empty.jpg": (b"", "is empty"),
        "page.png": (b"<html>", "is not a JPEG, PNG or TIFF"),
        "cut.jpg": (good[: len(good) // 2], "truncated"),
        "deep.tif": (out.getvalue(), "16 bits"),
        "line\nend.jpg": (good, "control character"),
        "n" * 120 + ".jpg": (good, "too long"),
    }
    for name, (data, _) in bad.items():
        (images / "Port" / name).write_bytes(data)
    return {name: reason for name, (_, reason) in bad.items()}


def test_bad_images_stop_the_packing_and_are_listed(images: Path, tmp_path: Path) -> None:
    spoiled, target = spoil(images), tmp_path / "SET"
    with pytest.raises(UserError, match=rf"{len(spoiled)} images cannot be packed.*--skip-bad"):
        pack(open_source(images), target)
    assert not target.exists()
    listed = [json.loads(line) for line in (tmp_path / "SET.partial" / "bad.jsonl").read_text().splitlines()]
    said = {Path(bad["path"].replace("\\n", "\n")).name: bad["reason"] for bad in listed}
    assert said.keys() == spoiled.keys()
    assert all(reason in said[name] for name, reason in spoiled.items())


def test_skipping_bad_images_continues_and_records_them(images: Path, packed: Path, tmp_path: Path) -> None:
    spoiled, target = spoil(images), tmp_path / "OTHER"
    with pytest.raises(UserError):
        pack(open_source(images), target)
    before = (tmp_path / "OTHER.partial" / "set" / "shard-000000.tar").stat().st_mtime_ns
    report = pack(open_source(images), target, skip_bad=True)
    assert (target / "shard-000000.tar").stat().st_mtime_ns == before
    assert len(report.skipped) == len(spoiled)
    assert len(json.loads((target / "made.json").read_text())["skipped"]) == len(spoiled)
    assert len(report.shards) == len(ShardSet.open(packed))
    assert verify(target) == []


def test_an_image_that_could_not_be_read_is_tried_again(images: Path, tmp_path: Path) -> None:
    source, path = open_source(images), min((images / "Port").iterdir())

    class Vanishing:
        kind, root, given = source.kind, source.root, source.given

        def records(self) -> Iterator[Found]:
            yield from list(source.records())
            path.rename(path.with_suffix(".away"))

    with pytest.raises(UserError, match="cannot be read"):
        pack(Vanishing(), tmp_path / "SET")
    path.with_suffix(".away").rename(path)  # its time stays, so that the plan is the same
    assert len(pack(source, tmp_path / "SET").shards) == 18


def test_same_keys_are_refused(images: Path, tmp_path: Path) -> None:
    path = min((images / "Port").iterdir())
    shutil.copy(path, path.with_suffix(".JPG"))
    with pytest.raises(UserError, match="same key 'Port/"):
        pack(open_source(images), tmp_path / "SET")


def test_duplicates_across_classes_are_reported(images: Path, tmp_path: Path) -> None:
    path = min((images / "Port").iterdir())
    shutil.copy(path, images / "Beach" / "copy.jpg")
    shutil.copy(path, images / "Port" / "copy.jpg")
    found = pack(open_source(images), tmp_path / "SET").duplicates
    assert (found.exact, found.near) == (2, 0)
    assert 1 <= found.across_classes <= 2
    assert all({name.split("/")[0] for name in pair} == {"Beach", "Port"} for pair in found.pairs)


def test_a_class_without_a_good_image_is_an_error(images: Path, tmp_path: Path) -> None:
    (images / "Lake").mkdir()
    with pytest.raises(UserError, match=r"Lake has no JPEG, PNG or TIFF"):
        pack(open_source(images), tmp_path / "SET")
    (images / "Lake" / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="class 'Lake' has no image that can be packed"):
        pack(open_source(images), tmp_path / "SET", skip_bad=True)


def test_a_target_that_exists_is_left_alone(images: Path, packed: Path) -> None:
    before = contents(packed)
    with pytest.raises(UserError, match="exists already"):
        pack(open_source(images), packed)
    assert contents(packed) == before


@pytest.mark.parametrize("option", [{"shard_bytes": 0}, {"resize": 0}, {"max_pixels": 0}, {"workers": 0}])
def test_options_are_checked(images: Path, tmp_path: Path, option: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least 1"):
        pack(open_source(images), tmp_path / "SET", **option)  # type: ignore[arg-type]


def test_resized_images_are_indexed_as_they_are_packed(images: Path, tmp_path: Path) -> None:
    shards = pack(open_source(images), tmp_path / "SET", resize=64).shards
    assert set(zip(shards.records["width"], shards.records["height"], strict=True)) == {(64, 64)}
    assert verify(shards.root) == []
