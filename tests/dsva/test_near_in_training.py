from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dsva.config import ValidationConfig
from dsva.protocol.class_splits import Split, load_split
from dsva.protocol.image_sets import image_sets
from dsva.protocol.near_duplicates import near
from shards.index import ShardSet
from shards.near_duplicates import near_duplicates
from shards.pack import pack
from shards.sources import open_source
from tests.helpers.shard_sets import shard_set

SPLITS = Path(__file__).parents[2] / "configs" / "aid" / "class_splits.json"


def with_hashes(phash: list[int]) -> ShardSet:
    data = shard_set([(f"{'AB'[i % 2]}/{i}", bytes([i])) for i in range(len(phash))])
    records = data.records.copy()
    records["phash"] = phash
    return replace(data, records=records)


@given(phash=st.lists(st.integers(0, 63), min_size=2, max_size=30), distance=st.integers(0, 4))
def test_near_images_are_those_that_comparing_all_pairs_finds(phash: list[int], distance: int) -> None:
    data, half = with_hashes(phash), len(phash) // 2
    train, test = np.arange(half), np.arange(half, len(phash))
    found = near(data, train, test, distance)
    for i in train:
        bits = {j: (phash[i] ^ phash[j]).bit_count() for j in test if phash[i] and phash[j]}
        alike = [j for j in bits if bits[j] <= distance and bits[j] == min(bits.values())]
        assert (found[i] in alike) if alike else (found[i] == -1)


def test_near_images_are_left_out_where_asked_for() -> None:
    data = with_hashes([0b1, 0b110000, 0b11, 0b110000, 0b1111, 0b1000])
    split = Split("a", ("A",), ("B",), "")  # trains 0, 2, 4 and tests 1, 3, 5
    sets = [image_sets(data, split, 0, ValidationConfig(), exclude_near=distance) for distance in (0, 2)]
    assert [found.train.tolist() for found in sets] == [[0, 2, 4], [2, 4]]
    assert sets[0].warnings == ()
    assert sets[1].warnings[0].endswith("within 2 of 64 bits): 1, such as A/0, like B/5")


def test_near_images_are_reported_where_their_hashes_tell_scenes_apart() -> None:
    """By default nothing is left out; of plain scenes, whose rows are all alike, nothing is said."""
    scene, other, shore = 0x0F3C_55AA_6996_1248, 0xA5F0_1C63_0FF0_8421, 0x0707_0707_0707_0707
    hashes = [scene ^ 0x0000_0101_0404_1010, scene, shore ^ 1, shore, other, ~scene & (1 << 64) - 1]
    split = Split("a", ("A",), ("B",), "")  # trains 0, 2, 4 and tests 1, 3, 5
    sets = image_sets(with_hashes(hashes), split, 0, ValidationConfig())
    assert sets.train.tolist() == [0, 2, 4]
    assert sets.warnings == (
        "training images that look like a test image (difference hash within 10 of 64 bits): 1, such as A/0, like B/1; "
        "`dsva shards near SET` shows them, classes.exclude_near=10 leaves them out",
    )


def test_aid_has_few_and_they_are_left_out(aid: Path, tmp_path: Path) -> None:
    """No equal hashes at all; within 8 of 64 bits a handful, most of them beaches, of which nothing is reported."""
    data = pack(open_source(aid / "images"), tmp_path / "aid", workers=2).shards
    counts = {}
    for name in ("25_5", "20_10", "15_15"):
        split = load_split(SPLITS, name)
        whole, without = (image_sets(data, split, 0.2, ValidationConfig(), exclude_near=bits) for bits in (None, 8))
        assert whole.warnings == ()
        counts[name] = len(whole.train) - len(without.train)
        assert f"within 8 of 64 bits): {counts[name]}, such as" in without.warnings[0]
    assert counts == {"25_5": 2, "20_10": 5, "15_15": 5}
    found, _ = near_duplicates([data], 14, workers=2)
    same = [{data.key(sample.id).split("/")[1] for sample in pair[:2]} for pair in found if pair.same_scene]
    assert all(
        pair in same for pair in ({"stadium_6", "stadium_93"}, {"stadium_100", "stadium_95"}, {"industrial_20", "industrial_58"})
    )
    assert len(same) == 7
