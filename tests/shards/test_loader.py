"""The loader: the same images at the same places whatever the ranks, threads and restarts; damage is named. 5 s."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.decode import Pixels
from shards.errors import UserError
from shards.index import ShardSet
from shards.loader import Batch, Loader, Reader, common_side
from shards.order import Episodes, Order, Sequential, ShuffledEpochs
from shards.pack import pack
from shards.sources import open_source

SIDE, BATCH, STEPS = 24, 10, 9


def picture(number: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """35 JPEGs, PNGs and TIFFs of one size in 5 classes and several shards."""
    root = tmp_path_factory.mktemp("loader")
    for number in range(35):
        path = root / "DATA" / f"class_{number % 5}" / f"{number}{('.jpg', '.png', '.tif')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    return pack(open_source(root / "DATA"), root / "SET", shard_bytes=12_000).shards


def order_of(shards: ShardSet, kind: str = "epochs") -> Order:
    ids = np.arange(len(shards))
    return ShuffledEpochs(ids, BATCH, 3) if kind == "epochs" else Episodes(ids, shards.labels, 5, 2, 3)


def copied(batches: Iterator[Batch]) -> list[Batch]:
    """Keep batches whose buffers will be used again."""
    return [Batch(b.step, b.ids, b.positions, b.labels, b.images.copy()) for b in batches]


def decoded(shards: ShardSet, sample: int) -> Pixels:
    """The pixels of a sample as Pillow sees them."""
    with Reader(shards) as reader, Image.open(io.BytesIO(reader.bytes(sample))) as image:
        return np.asarray(image.convert("RGB"))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert [b.step for b in first] == [b.step for b in second]
    for a, b in zip(first, second, strict=True):
        for name in ("ids", "positions", "labels", "images"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_batches_hold_the_pixels_labels_and_places_of_the_order(shards: ShardSet) -> None:
    assert len(shards.shards) > 3
    order = order_of(shards)
    for batch in Loader(shards, order, SIDE).batches(0, STEPS):
        np.testing.assert_array_equal(batch.ids, order.batch(batch.step))
        np.testing.assert_array_equal(batch.positions, np.arange(BATCH))
        np.testing.assert_array_equal(batch.labels, shards.labels[batch.ids])
        for sample, pixels in zip(batch.ids, batch.images, strict=True):
            np.testing.assert_array_equal(pixels, decoded(shards, int(sample)))


@pytest.mark.parametrize("kind", ["epochs", "episodes"])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_ranks_together_see_what_one_sees(shards: ShardSet, kind: str, world_size: int, workers: int) -> None:
    order = order_of(shards, kind)
    whole = copied(Loader(shards, order, SIDE, workers=1, prefetch=1).batches(0, STEPS))
    ranks = [
        copied(Loader(shards, order, SIDE, rank, world_size, workers, prefetch=1 + workers).batches(0, STEPS))
        for rank in range(world_size)
    ]
    joined = [
        Batch(
            parts[0].step,
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "positions", "labels", "images")),
        )
        for parts in zip(*ranks, strict=True)
    ]
    assert_same(joined, whole)


@pytest.mark.parametrize("start", [0, 1, 4, STEPS - 1, STEPS])
def test_starting_at_a_step_is_skipping_those_before(shards: ShardSet, start: int) -> None:
    loader = Loader(shards, order_of(shards), SIDE)
    assert_same(copied(loader.batches(start, STEPS)), copied(loader.batches(0, STEPS))[start:])


def test_more_ranks_than_images_leave_some_with_empty_parts(shards: ShardSet) -> None:
    order = Sequential(np.arange(13), 5)
    parts = [copied(Loader(shards, order, SIDE, rank, 8).batches(0, order.steps)) for rank in range(8)]
    assert sorted(np.concatenate([b.ids for part in parts for b in part]).tolist()) == list(range(13))
    assert any(len(b.ids) == 0 for part in parts for b in part)
    assert {b.images.shape[1:] for part in parts for b in part} == {(SIDE, SIDE, 3)}


@pytest.mark.parametrize("prefetch", [1, 2, 6])
def test_a_buffer_is_used_again_only_after_its_batch_was_done_with(shards: ShardSet, prefetch: int) -> None:
    made: list[Pixels] = []

    def allocate(shape: tuple[int, ...]) -> Pixels:
        made.append(np.empty(shape, np.uint8))
        return made[-1]

    loader = Loader(shards, order_of(shards), SIDE, workers=3, prefetch=prefetch, allocate=allocate)
    batches = loader.batches(0, 30)
    truth = {sample: decoded(shards, sample) for sample in range(len(shards))}
    for batch in batches:
        # The threads are given the time to decode all that they may: none of it may land here.
        _let_threads_finish()
        np.testing.assert_array_equal(batch.images, np.stack([truth[int(i)] for i in batch.ids]))
    assert len(made) == prefetch + 1


def _let_threads_finish() -> None:
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("loader")]:
        thread.join(0.002)


def test_a_short_last_batch_shares_the_buffers(shards: ShardSet) -> None:
    order = Sequential(np.arange(33), 10)
    batches = copied(Loader(shards, order, SIDE).batches(0, order.steps))
    assert [len(b.ids) for b in batches] == [10, 10, 10, 3]
    np.testing.assert_array_equal(batches[-1].images[2], decoded(shards, 32))


def loader_threads() -> int:
    return sum(thread.name.startswith("loader") for thread in threading.enumerate())


def test_leaving_early_ends_the_threads_and_closes_the_files(shards: ShardSet) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    batches = Loader(shards, order_of(shards), SIDE, workers=4).batches(0, 1000)
    next(batches)
    next(batches)
    assert loader_threads() > 0
    batches.close()
    assert loader_threads() == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_two_generators_of_a_loader_do_not_meet(shards: ShardSet) -> None:
    loader = Loader(shards, order_of(shards), SIDE)
    expected = copied(loader.batches(0, STEPS))
    pairs = zip(loader.batches(0, STEPS), loader.batches(0, STEPS), strict=True)
    both = [(copied(iter([a]))[0], copied(iter([b]))[0]) for a, b in pairs]
    assert_same([a for a, _ in both], expected)
    assert_same([b for _, b in both], expected)


def damaged_copy(shards: ShardSet, to: Path, sample: int) -> ShardSet:
    """A copy of the set in which one byte in the middle of a sample is another one."""
    to.mkdir()
    for path in shards.root.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    record = shards.records[sample]
    tar = to / shards.path(sample).name
    content = bytearray(tar.read_bytes())
    content[int(record["offset"]) + int(record["length"]) // 2] ^= 1
    tar.write_bytes(content)
    return ShardSet.open(to)


@pytest.mark.parametrize("workers", [1, 4])
def test_damaged_bytes_are_named_when_their_batch_is_due_and_not_before(shards: ShardSet, tmp_path: Path, workers: int) -> None:
    order = order_of(shards)
    sample = int(order.batch(2)[7])
    damaged = damaged_copy(shards, tmp_path / "DAMAGED", sample)
    batches = Loader(damaged, order, SIDE, workers=workers).batches(0, STEPS)
    assert [next(batches).step, next(batches).step] == [0, 1]
    with pytest.raises(UserError) as caught:
        next(batches)
    for part in (str(damaged.path(sample)), repr(shards.key(sample)), "not those that were packed", "dsva shards verify"):
        assert part in str(caught.value)
    assert loader_threads() == 0


def test_a_missing_or_shortened_shard_is_named(shards: ShardSet, tmp_path: Path) -> None:
    damaged = damaged_copy(shards, tmp_path / "DAMAGED", 0)
    last = len(shards) - 1
    damaged.path(0).unlink()
    damaged.path(last).write_bytes(damaged.path(last).read_bytes()[: int(shards.records[last]["offset"]) + 10])
    with Reader(damaged) as reader:
        for sample, reason in ((0, "cannot be opened"), (last, "not those that were packed")):
            with pytest.raises(UserError, match=reason) as caught:
                reader.bytes(sample)
            assert str(damaged.path(sample)) in str(caught.value)


def foreign(shards: ShardSet, sample: int, content: bytes, at: Path, width: int = SIDE, height: int = SIDE) -> ShardSet:
    """A set whose index, checksums included, vouches for content that is not an image of that size."""
    import xxhash

    records = np.array(shards.records[sample : sample + 1])
    records["offset"], records["length"], records["shard"] = 0, len(content), 0
    records["checksum"], records["width"], records["height"] = xxhash.xxh3_64_intdigest(content), width, height
    at.mkdir(exist_ok=True)
    (at / shards.shards[0].name).write_bytes(content)
    return ShardSet(at, shards.classes, shards.splits, shards.shards[:1], records, "", shards._keys)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def strange_content() -> dict[str, bytes]:
    """Contents that a stranger's index could vouch for."""
    png = bytearray(encoded(picture(0), "PNG"))
    huge = png.copy()
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    return {
        "no image": b"no image at all",
        "nothing": b"",
        "cut JPEG": encoded(picture(0), "JPEG")[:300],
        "smaller JPEG": encoded(picture(0, 16, 16), "JPEG"),
        "larger JPEG": encoded(picture(0, 48, 48), "JPEG"),
        "larger PNG": encoded(picture(0, 48, 48), "PNG"),
        "cut PNG": bytes(png[: len(png) // 2]),
        "PNG that claims 3.6 gigapixels": bytes(huge),
        "16-bit PNG": encoded(Image.fromarray(np.full((SIDE, SIDE), 40_000, np.uint16)), "PNG"),
    }


@pytest.mark.parametrize("what", strange_content())
@pytest.mark.parametrize("side", [SIDE, 8])
def test_content_that_is_not_what_the_index_says_is_named(shards: ShardSet, tmp_path: Path, what: str, side: int) -> None:
    strange = foreign(shards, 3, strange_content()[what], tmp_path / "STRANGE")
    loader = Loader(strange, Sequential(np.arange(1), 1), side)
    with pytest.raises(UserError) as caught:
        next(loader.batches(0, 1))
    assert repr(strange.key(0)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize(("width", "height"), [(40, 30), (30, 40), (24, 60), (24, 24), (9, 100)])
def test_other_sizes_are_scaled_to_the_shorter_side_and_cut_to_the_middle(
    shards: ShardSet, tmp_path: Path, kind: str, width: int, height: int
) -> None:
    image = picture(1, width, height)
    mixed = foreign(shards, 0, encoded(image, kind), tmp_path / "MIXED", width, height)
    (batch,) = copied(Loader(mixed, Sequential(np.arange(1), 1), 20).batches(0, 1))
    with Image.open(io.BytesIO(encoded(image, kind))) as opened:
        scale = 20 / min(width, height)
        scaled = opened.convert("RGB").resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR)
    left, top = (scaled.width - 20) / 2, (scaled.height - 20) / 2
    middle = np.asarray(scaled.crop((int(left), int(top), int(left) + 20, int(top) + 20)), np.int64)
    # Where the middle lies between two pixels, the picture may be half a pixel off.
    if left == int(left) and top == int(top) and round(width * scale) == width * scale and round(height * scale) == height * scale:
        assert np.abs(batch.images[0] - middle).max() <= 1
    else:
        assert np.abs(batch.images[0].mean((0, 1)) - middle.mean((0, 1))).max() < 12


def test_grey_and_palette_images_become_rgb(shards: ShardSet, tmp_path: Path) -> None:
    grey = picture(2).convert("L")
    for image, kind in ((grey, "JPEG"), (grey, "PNG"), (picture(2).quantize(16), "PNG"), (picture(2).convert("RGBA"), "PNG")):
        content = encoded(image, kind)
        one = foreign(shards, 0, content, tmp_path / "GREY")
        (batch,) = copied(Loader(one, Sequential(np.arange(1), 1), SIDE).batches(0, 1))
        with Image.open(io.BytesIO(content)) as opened:
            np.testing.assert_array_equal(batch.images[0], np.asarray(opened.convert("RGB")))


def test_the_common_side_is_that_of_equal_squares_only(shards: ShardSet) -> None:
    def with_sizes(width: list[int], height: list[int]) -> ShardSet:
        records = np.array(shards.records[: len(width)])
        records["width"], records["height"] = width, height
        return ShardSet(shards.root, shards.classes, shards.splits, shards.shards, records, "", shards._keys)

    assert common_side(shards, 99) == SIDE
    assert common_side(with_sizes([30, 30], [30, 30]), 99) == 30
    for width, height in (([30, 31], [30, 31]), ([30, 30], [20, 20]), ([30, 30], [30, 31])):
        assert common_side(with_sizes(width, height), 99) == 99
