"""Files of any size, made sparse here, are refused before they are in memory."""

import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.description import KEYS, MAX_JSON_BYTES, SET, read_digested, write_description, write_digested
from shards.errors import UserError
from shards.image_checks import MAX_BYTES
from shards.index import ShardSet
from shards.pack import pack
from shards.sources import open_source
from shards.sources.records import Refused
from shards.tar import BLOCK
from shards.tarscan import members
from shards.user_images import Unused, find, read


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Let this process have no more than 256 MiB beside what it has: less than any of the limits."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_an_image_of_a_class_folder(images: Path, tmp_path: Path) -> None:
    sparse(images / "Port" / "large.jpg", MAX_BYTES + 1)
    refused = [record for record in open_source(images).records() if isinstance(record, Refused)]
    assert [record.reason for record in refused] == ["is larger than 1024 MiB: cut it into scenes"]
    with pytest.raises(UserError, match=r"large\.jpg is larger than 1024 MiB"):
        pack(open_source(images), tmp_path / "SET")


def test_an_image_that_is_given_by_name(packed: Path, tmp_path: Path) -> None:
    large = sparse(tmp_path / "large.jpg", MAX_BYTES + 1)
    [batch] = read(find([str(large)], ShardSet.open(packed), Unused()), 32, 4, 1)
    assert not batch.images
    assert [bad.reason for bad in batch.bad] == ["is larger than 1024 MiB: cut it into scenes"]


def test_the_description_of_a_set(packed: Path) -> None:
    sparse(packed / SET, MAX_JSON_BYTES + 1)
    with pytest.raises(UserError, match="is larger than 256 MiB"):
        read_digested(packed / SET)


def test_a_set_that_claims_more_samples_than_its_index_has(packed: Path) -> None:
    described = read_digested(packed / SET)
    more = 10**12 - described["samples"]
    described["samples"] += more
    described["shards"][0]["samples"] += more
    write_digested(packed / SET, described)
    with pytest.raises(UserError, match=r"index\.bin points outside its shards"):
        ShardSet.open(packed)


def test_a_strangers_key_cannot_move_the_cursor(packed: Path) -> None:
    opened = ShardSet.open(packed)
    strange = opened.key(0)[:-4] + "\x1b[2J"
    keys = (packed / KEYS).read_bytes()
    (packed / KEYS).write_bytes(strange.encode() + keys[len(strange) :])
    write_description(packed, opened.classes, opened.splits, opened.shards, len(opened))
    assert ShardSet.open(packed).key(0) == strange[:-4] + r"\x1b[2J"


def test_a_header_of_a_tar_that_says_it_is_long(tmp_path: Path) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path = sparse(tmp_path / "a.tar", BLOCK + header.size + 2 * BLOCK)
    with path.open("r+b") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(UserError, match="damaged header"):
        list(members(path))
