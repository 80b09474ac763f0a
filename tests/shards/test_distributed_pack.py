"""Packing in parts: any order, killed or done twice, the same bytes; and what stops it."""

import os
from itertools import chain
from pathlib import Path

import pytest

from shards.distributed_pack import DistributedPack, finished, pack_part, plan_parts, sizes
from shards.errors import UserError
from shards.locks import TOGETHER
from shards.partial_folder import locked, working
from shards.plan import Options
from shards.sources import open_source

OPTIONS = Options(40_000, None, 10**8)


def plan(images: Path, target: Path, count: int = 3, skip_bad: bool = False) -> DistributedPack:
    return plan_parts(open_source(images), target, OPTIONS, count, skip_bad)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def whole(images: Path, tmp_path: Path) -> Path:
    """What one part makes."""
    target = tmp_path / "WHOLE"
    made = plan(images, target, 1)
    pack_part(target, made.fingerprint, made.shards[0])
    return target


def test_parts_in_any_order_and_one_of_them_twice_make_the_same_set(images: Path, whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "SET"
    made = plan(images, target)
    assert sorted(chain(*made.shards)) == list(sizes(target))
    assert len(made.shards) == 3
    for part in (2, 0, 2):
        pack_part(target, made.fingerprint, made.shards[part])
        assert not target.exists()
    assert finished(target) == set(made.shards[0] + made.shards[2])
    again = plan(images, target)
    assert list(chain(*again.shards)) == made.shards[1], "what is finished stays"
    for shards in again.shards:
        pack_part(target, again.fingerprint, shards)
    assert contents(target) == contents(whole)


def test_whoever_ends_last_makes_the_set_and_nobody_while_a_part_is_at_work(images: Path, whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "SET"
    made = plan(images, target, 2)
    pack_part(target, made.fingerprint, made.shards[0])
    with locked(working(target), TOGETHER, wait=True):
        pack_part(target, made.fingerprint, made.shards[1])
        assert not target.exists()
        with pytest.raises(UserError, match="being written by another process"):
            plan(images, target)
    pack_part(target, made.fingerprint, [])
    assert contents(target) == contents(whole)
    assert not working(target).exists()
    (working(target) / "set").mkdir(parents=True)  # as if killed before it had cleared away
    pack_part(target, made.fingerprint, made.shards[0])  # a late start finds nothing else to do
    assert not working(target).exists()
    assert contents(target) == contents(whole)


def test_a_part_of_an_older_plan_is_refused(images: Path, tmp_path: Path) -> None:
    target = tmp_path / "SET"
    made = plan(images, target)
    os.utime(next(images.rglob("*.jpg")), ns=(0, 0))
    plan(images, target)
    with pytest.raises(UserError, match="planned anew"):
        pack_part(target, made.fingerprint, made.shards[0])


def test_shards_with_bad_images_are_tried_again_unless_these_are_skipped(images: Path, tmp_path: Path) -> None:
    target = tmp_path / "SET"
    os.truncate(next(images.rglob("*.jpg")), 600)
    made = plan(images, target, 1)
    with pytest.raises(UserError, match="1 images cannot be packed"):
        pack_part(target, made.fingerprint, made.shards[0])
    assert plan(images, target, skip_bad=True).shards == []
    again = plan(images, target)
    assert [len(shards) for shards in again.shards] == [1]
    pack_part(target, again.fingerprint, again.shards[0], skip_bad=True)
    assert target.exists()
