from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from shard_sets import shard_set

from dsva.config import ValidationConfig
from dsva.zeroshot import near as near_module
from dsva.zeroshot.classes import image_sets
from dsva.zeroshot.near import near
from dsva.zeroshot.splits import Split, load_split
from shards.index import ShardSet
from shards.pack import pack
from shards.sources import open_source

SPLITS = Path(__file__).parents[2] / "configs" / "aid" / "class_splits.json"


def with_hashes(phash: list[int]) -> ShardSet:
    data = shard_set([(f"{'AB'[i % 2]}/{i}", bytes([i])) for i in range(len(phash))])
    records = data.records.copy()
    records["phash"] = phash
    return replace(data, records=records)


@given(phash=st.lists(st.integers(0, 63), min_size=2, max_size=30), distance=st.integers(0, 4), pairs=st.integers(1, 40))
def test_near_images_are_those_that_comparing_all_pairs_finds(phash: list[int], distance: int, pairs: int) -> None:
    data, half = with_hashes(phash), len(phash) // 2
    train, test = np.arange(half), np.arange(half, len(phash))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_module, "PAIRS", pairs)
        found = near(data, train, test, distance)
    for i in train:
        alike = [j for j in test if phash[i] and phash[j] and (phash[i] ^ phash[j]).bit_count() <= distance]
        assert (found[i] in alike) if alike else (found[i] == -1)


def test_near_images_are_named_or_left_out() -> None:
    data = with_hashes([0b1, 0b110000, 0b11, 0b110000, 0b1111, 0b1000])
    split = Split("a", ("A",), ("B",), "")  # trains 0, 2, 4 and tests 1, 3, 5
    sets = [image_sets(data, split, 0, ValidationConfig(), exclude_near=distance) for distance in (None, 0, 2)]
    assert [found.train.tolist() for found in sets] == [[0, 2, 4], [0, 2, 4], [2, 4]]
    assert [found.warnings for found in sets[:2]] == [(), ()]
    assert sets[2].warnings[0].endswith("within 2 of 64 bits): 1, such as A/0, like B/5")
    same = image_sets(with_hashes([8, 0b110000, 0b11, 0b110000, 0b1111, 8]), split, 0, ValidationConfig())
    assert same.train.tolist() == [0, 2, 4]
    assert same.warnings[0].startswith(
        "training images that look like a test image (equal difference hash): 1, such as A/0, like B/5"
    )


def test_aid_has_few_and_they_are_left_out(aid: Path, tmp_path: Path) -> None:
    """No equal hashes at all; within 8 of 64 bits a handful, most of them beaches."""
    data = pack(open_source(aid / "images"), tmp_path / "aid", workers=2, console=Console(quiet=True)).shards
    counts = {}
    for name in ("25_5", "20_10", "15_15"):
        split = load_split(SPLITS, name)
        whole, without = (image_sets(data, split, 0.2, ValidationConfig(), exclude_near=bits) for bits in (None, 8))
        assert whole.warnings == ()
        counts[name] = len(whole.train) - len(without.train)
        assert f"within 8 of 64 bits): {counts[name]}, such as" in without.warnings[0]
    assert counts == {"25_5": 2, "20_10": 5, "15_15": 5}
