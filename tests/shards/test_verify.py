"""Damage of every kind is found and named."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shards.description import INDEX, KEYS, MADE, SET, write_digested
from shards.errors import UserError
from shards.files import file_sha256
from shards.index import RECORD, ShardSet
from shards.info import info
from shards.verify import verify


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def reseal(root: Path, change: Callable[[dict[str, object]], None] = lambda _: None) -> None:
    """Change set.json and make all hashes right again, as a stranger would."""
    described = json.loads((root / SET).read_text())
    described |= {INDEX: file_sha256(root / INDEX), KEYS: file_sha256(root / KEYS)}
    change(described)
    del described["digest"]
    write_digested(root / SET, described)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_whole_set_has_no_findings(packed: Path, workers: int) -> None:
    assert verify(packed, workers) == []


def test_a_flipped_bit_anywhere_in_a_tar_is_found(packed: Path) -> None:
    # A prime step, so that headers, images, labels, padding and the end are all met.
    path = packed / "shard-000000.tar"
    size = path.stat().st_size
    for at in [*range(0, size, 4999), size - 1, 512, 511]:
        flip(path, at)
        findings = verify(packed)
        assert findings
        assert all("shard-000000.tar" in finding for finding in findings)
        flip(path, at)
    assert verify(packed) == []


def test_a_flipped_bit_in_an_image_names_the_sample(packed: Path) -> None:
    shards = ShardSet.open(packed)
    record, name, key = shards.records[1], shards.path(1).name, shards.key(1)
    flip(shards.path(1), int(record["offset"]) + int(record["length"]) // 2)
    [finding] = verify(packed)
    assert name in finding
    assert key in finding


def end_of_image(record: np.void) -> int:
    return int(record["offset"]) + int(record["length"])


def test_a_flipped_bit_in_padding_is_outside_any_image(packed: Path) -> None:
    shards = ShardSet.open(packed)
    padded = next(record for record in shards.records if end_of_image(record) % 512)
    flip(packed / shards.shards[padded["shard"]].name, end_of_image(padded))
    [finding] = verify(packed)
    assert "outside any image" in finding


def test_a_changed_label_is_named(packed: Path) -> None:
    shards = ShardSet.open(packed)
    end = end_of_image(shards.records[0])
    flip(shards.path(0), end + -end % 512 + 512)  # past the padding and the header of the .cls file
    [finding] = verify(packed)
    assert shards.key(0) in finding
    assert "its class is" in finding


@pytest.mark.parametrize("name", [INDEX, KEYS, SET, MADE])
def test_a_flipped_bit_in_the_index_is_found(packed: Path, name: str) -> None:
    size = (packed / name).stat().st_size
    for at in range(0, size, max(1, size // 50)):
        flip(packed / name, at)
        assert any(name in finding for finding in verify(packed)), at
        flip(packed / name, at)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "shard-000001.tar").unlink(), "shard-000001.tar is missing"),
        (lambda root: shutil.copy(root / "shard-000001.tar", root / "x.tar"), "x.tar is not in set.json"),
        (lambda root: os.truncate(root / "shard-000001.tar", 5000), "has 5000 bytes, not the"),
        (lambda root: os.truncate(root / "shard-000001.tar", 0), "has 0 bytes, not the"),
        (lambda root: (root / "shard-000000.tar").replace(root / "shard-000001.tar"), "shard-000000.tar is missing"),
        (lambda root: (root / INDEX).unlink(), "does not match set.json"),
        (lambda root: (root / SET).unlink(), "is not a shard set"),
        (lambda root: (root / SET).write_text("[1]"), "was changed or damaged"),
        (lambda root: (root / SET).write_bytes((root / SET).read_bytes().replace(b" ", b"\t", 1)), "was changed or damaged"),
        (lambda root: (root / MADE).write_text("{"), "made.json is not JSON"),
        (lambda root: write_digested(root / MADE, {"set": "other"}), "another state of the set"),
    ],
)
def test_missing_extra_and_cut_files(packed: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(packed)
    assert any(message in finding for finding in verify(packed))


def change_records(root: Path, change: Callable[[np.ndarray], None]) -> None:
    records = np.fromfile(root / INDEX, RECORD)
    change(records)
    records.tofile(root / INDEX)
    reseal(root)


def set_first(field: str, value: int) -> Callable[[np.ndarray], None]:
    def change(records: np.ndarray) -> None:
        records[field][0] = value

    return change


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("label", 2, "its class is"), ("checksum", 1, "not those that were packed"), ("length", 9, "the index says 9")],
)
def test_an_index_that_lies_within_bounds_is_found(packed: Path, field: str, value: int, message: str) -> None:
    before = int(ShardSet.open(packed).records[field][0])
    change_records(packed, set_first(field, value if value != before else 1))
    assert any(message in finding for finding in verify(packed))


@pytest.mark.parametrize(
    ("field", "value"),
    [("label", 3), ("shard", 9), ("split", 1), ("offset", 1 << 63), ("length", (1 << 32) - 1), ("key", 1 << 62)],
)
def test_an_index_that_points_outside_is_refused(packed: Path, field: str, value: int) -> None:
    change_records(packed, set_first(field, value))
    with pytest.raises(UserError, match="points outside"):
        ShardSet.open(packed)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": "Airport"},
        {"classes": []},
        {"classes": ["A", "A", "B"]},
        {"classes": ["A", None, "B"]},
        {"classes": ["A\n", "B", "C"]},
        {"classes": ["\ud800", "B", "C"]},
        {"splits": None},
        {"splits": {"": 0}},
        {"shards": {}},
        {"shards": []},
        {"shards": [1]},
        {"shards": [{"name": "../../x.tar", "size": 1, "samples": 18, "sha256": ""}]},
        {"shards": [{"name": "a.tar", "size": 10**30, "samples": 18, "sha256": ""}]},
        {"shards": [{"name": "a.tar", "size": True, "samples": 18, "sha256": ""}]},
        {"shards": [{"name": "a.tar", "size": 1.5, "samples": 18, "sha256": ""}]},
        {"shards": [{"name": "a.tar", "size": 1, "samples": 18}]},
        {"samples": "18"},
        {"samples": 18.0},
        {"format": True},
        {"samples": 17},
        {INDEX: 5},
        {KEYS: None},
        {"format": []},
    ],
)
def test_a_description_of_wrong_shape_is_refused(packed: Path, change: dict[str, object]) -> None:
    reseal(packed, lambda described: described.update(change))
    with pytest.raises(UserError, match=SET):
        ShardSet.open(packed)
    assert len(verify(packed)) == 1


def test_info_describes_a_set(packed: Path) -> None:
    shards = ShardSet.open(packed)
    told = info(shards)
    assert told.classes == {"Airport": 6, "Beach": 6, "Port": 6}
    assert told.splits == {"": 18}
    assert (told.samples, told.digest, told.shards) == (18, shards.digest, len(shards.shards))
    assert told.tar_bytes == sum((packed / shard.name).stat().st_size for shard in shards.shards)
    assert told.image_bytes == shards.records["length"].sum()
    assert (told.duplicates.exact, told.duplicates.near) == (0, 0)
