"""Whatever the bytes are, the answer is a sentence: never another exception, and never a wrong label."""

import io
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from shards.description import INDEX, KEYS, MADE, SET, write_digested
from shards.errors import UserError
from shards.files import file_sha256
from shards.image_checks import BadImage, inspect, resized
from shards.index import ShardSet
from shards.rebuild import rebuild
from shards.sources import open_source
from shards.sources.records import Record
from shards.verify import verify
from tests.helpers.drawn import scene

Damage = list[tuple[str, float, bytes]]
damages = st.lists(
    st.tuples(
        st.sampled_from(["change", "insert", "remove", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=16),
    ),
    min_size=1,
    max_size=3,
)
bounded = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def damaged(data: bytes, damage: Damage) -> bytes:
    for kind, where, new in damage:
        at = int(where * len(data))
        rest = {"change": data[at + len(new) :], "insert": data[at:], "remove": data[at + len(new) :], "cut": b""}[kind]
        data = data[:at] + (new if kind in ("change", "insert") else b"") + rest
    return data


@pytest.fixture
def encoded() -> dict[str, bytes]:
    found = {"JPEG": scene("Port", 1)}
    with Image.open(io.BytesIO(found["JPEG"])) as image:
        small = image.resize((60, 50))
    for name, kind, options in (("PNG", "PNG", {}), ("TIFF", "TIFF", {}), ("LZW", "TIFF", {"compression": "tiff_lzw"})):
        out = io.BytesIO()
        small.save(out, kind, **options)
        found[name] = out.getvalue()
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "LZW"])
@bounded
@given(damage=damages)
def test_images(encoded: dict[str, bytes], kind: str, damage: Damage) -> None:
    data = damaged(encoded[kind], damage)
    try:
        facts = inspect(data)
        assert 0 < facts.width * facts.height <= 64_000_000
    except BadImage:
        return
    with suppress(BadImage):  # Pillow may be stricter than the fast decoder
        resized(data, 30)


@bounded
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*"]))
def test_bytes_that_begin_like_an_image(start: bytes, data: bytes) -> None:
    with pytest.raises(BadImage):
        inspect(start + data)


def true_labels(images: Path) -> dict[bytes, str]:
    return {path.read_bytes(): path.parent.name for path in images.rglob("*.jpg")}


@bounded
@given(damage=damages)
def test_tars(images: Path, packed: Path, damage: Damage) -> None:
    path, truth = packed / "shard-000000.tar", true_labels(images)
    before = path.read_bytes()
    copy = packed.with_name("COPY")
    shutil.copytree(packed, copy, dirs_exist_ok=True)
    path = copy / path.name
    path.write_bytes(damaged(before, damage))
    changed = path.read_bytes() != before
    assert bool(verify(copy)) == changed
    try:
        shards = rebuild(copy)
    except UserError:
        return
    for sample, record in enumerate(shards.records):
        data = shards.path(sample).read_bytes()[record["offset"] :][: record["length"]]
        if data in truth:
            assert shards.classes[record["label"]] == truth[data]


@bounded
@given(damage=damages)
def test_tars_as_a_source(packed: Path, damage: Damage) -> None:
    path = packed / "shard-000000.tar"
    before = path.read_bytes()
    path.write_bytes(damaged(before, damage))
    try:
        size = path.stat().st_size
        for item in open_source(packed).records():
            assert not isinstance(item, Record) or item.path != path.name or item.offset + item.length <= size
    except UserError as error:
        assert path.name in str(error)  # noqa: PT017 (an error is one of two right answers)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", [INDEX, KEYS, SET, MADE])
@bounded
@given(damage=damages)
def test_the_index(packed: Path, name: str, damage: Damage) -> None:
    path = packed / name
    before = path.read_bytes()
    path.write_bytes(damaged(before, damage))
    try:
        assert bool(verify(packed)) == (path.read_bytes() != before)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", [INDEX, KEYS])
@bounded
@given(damage=damages)
def test_an_index_whose_hashes_were_made_right(packed: Path, name: str, damage: Damage) -> None:
    path, sealed = packed / name, (packed / SET).read_bytes()
    before, digest = path.read_bytes(), ShardSet.open(packed).digest
    path.write_bytes(damaged(before, damage))
    described = json.loads(sealed)
    described[name] = file_sha256(path)
    del described["digest"]
    write_digested(packed / SET, described)
    try:
        # made.json tells of the change; what is found besides does not matter, only that it is told.
        assert bool(verify(packed)) == (path.read_bytes() != before)
        shards = ShardSet.open(packed)
        assert all(isinstance(shards.key(sample), str) for sample in range(len(shards)))
        assert shards.digest != digest or path.read_bytes() == before
    except UserError as error:
        assert str(packed) in str(error)  # noqa: PT017 (an error is one of two right answers)
    finally:
        path.write_bytes(before)
        (packed / SET).write_bytes(sealed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@bounded
@given(name=st.sampled_from(["format", "samples", "classes", "splits", "shards", INDEX, KEYS]), value=json_values)
def test_a_description_with_any_value(packed: Path, name: str, value: Any) -> None:
    sealed = (packed / SET).read_bytes()
    described = json.loads(sealed)
    assume(json.dumps(described[name]) != json.dumps(value))
    # Names of splits that no image is of are no mistake.
    assume(name != "splits" or not isinstance(value, list) or value[:1] != [""])
    described[name] = value
    del described["digest"]
    write_digested(packed / SET, described)
    try:
        with pytest.raises(UserError):
            ShardSet.open(packed)
    finally:
        (packed / SET).write_bytes(sealed)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t_images.mat", "t_splits.mat"])
@bounded
@given(data=st.binary(max_size=200))
def test_tables_of_any_bytes(tmp_path: Path, name: str, data: bytes) -> None:
    for other in ("t_images.mat", "t_splits.mat", name):
        (tmp_path / other).write_bytes(data)
    try:
        list(open_source(tmp_path / name).records())
    except UserError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017 (an error is one of two right answers)


@bounded
@given(text=st.text(max_size=60))
def test_tables_of_any_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_bytes(b"path,class,split\n" + text.encode("utf-8", "replace"))
    try:
        assert not any(isinstance(item, Record) for item in open_source(tmp_path / "t.csv").records())
    except UserError as error:
        assert "t.csv" in str(error)  # noqa: PT017 (an error is one of two right answers)
