"""Batches of uint8 pixels from a shard set, read and decoded ahead by threads.

Threads, not processes: reading, hashing and decoding release the interpreter lock, so threads use
all cores and write straight into the batch. There is nothing to fork, no shared memory to fill up,
no worker that outlives a kill, and no signal handler to inherit.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from shards.decode import Pixels, decode_into
from shards.errors import UserError
from shards.index import ShardSet
from shards.order import Ids, Order, part

# Images a thread takes at a time: few enough to share a small batch evenly, enough to hide the hand-over.
CHUNK = 8


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch.

    Attributes:
        step: which global batch.
        ids: samples, [b].
        positions: places of the samples in the global batch, [b].
        labels: classes of the samples, [b].
        images: RGB pixels, [b, side, side, 3]; a buffer that is reused for a later batch as soon as the next one is asked for.
    """

    step: int
    ids: Ids
    positions: Ids
    labels: NDArray[np.int64]
    images: Pixels


class Reader:
    """Samples of a shard set by id: bytes checked against the index, pixels. Safe to use from many threads."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards = shards
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()

    def bytes(self, sample: int) -> bytes:
        """Return the image bytes of a sample.

        Raises:
            UserError: the shard is missing or its bytes are not those that were packed.
        """
        record = self.shards.records[sample]
        data = os.pread(self._file(int(record["shard"]), sample), int(record["length"]), int(record["offset"]))
        if xxhash.xxh3_64_intdigest(data) != record["checksum"]:
            raise self._damaged(sample, "its bytes are not those that were packed")
        return data

    def decode(self, sample: int, out: Pixels) -> None:
        """Decode a sample into `out`, [side, side, 3].

        Raises:
            UserError: as `bytes`, or the bytes are no image.
        """
        record = self.shards.records[sample]
        data = self.bytes(sample)
        try:
            decode_into(data, int(record["width"]), int(record["height"]), out, upright=self.shards.turned > 0)
        except ValueError as error:
            raise self._damaged(sample, str(error)) from None

    def close(self) -> None:
        """Close the shards' files."""
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _file(self, shard: int, sample: int) -> int:
        with self._lock:
            if shard not in self._files:
                try:
                    self._files[shard] = os.open(self.shards.path(sample), os.O_RDONLY)
                except OSError as error:
                    raise self._damaged(sample, f"its shard cannot be opened ({error.strerror})") from None
            return self._files[shard]

    def _damaged(self, sample: int, what: str) -> UserError:
        return UserError(
            f"{self.shards.path(sample)}: sample {self.shards.key(sample)!r}: {what}: "
            f"find all damage with `dsva shards verify {self.shards.root}`, then pack again"
        )


def common_side(shards: ShardSet, resize: int) -> int:
    """Return the side of the loader's square pixels.

    Where all images are squares of one size they come as they are and are scaled on the device;
    otherwise the threads scale each to `resize`.
    """
    width, height = shards.records["width"], shards.records["height"]
    side = int(width[0])
    return side if bool((width == side).all() and (height == side).all()) else resize


@dataclass
class Loader:
    """Batches of a shard set in a given order, for one rank.

    Attributes:
        shards: the set.
        order: which samples make up each global batch.
        side: height and width of the pixels.
        rank: of this process.
        world_size: number of processes.
        workers: threads.
        prefetch: batches ahead of the one in use.
        allocate: makes the pixel buffers; give pinned memory for a GPU.
    """

    shards: ShardSet
    order: Order
    side: int
    rank: int = 0
    world_size: int = 1
    workers: int = 2
    prefetch: int = 3
    allocate: Callable[[tuple[int, ...]], Pixels] = field(default=lambda shape: np.empty(shape, np.uint8))

    def batches(self, start: int, stop: int) -> Generator[Batch, None, None]:
        """Yield this rank's part of the global batches `start` to `stop` - 1.

        Raises:
            UserError: a sample is damaged (raised when its batch is due).
        """
        free: deque[Pixels] = deque()
        ahead: deque[tuple[Batch, Pixels, list[Future[None]]]] = deque()
        with Reader(self.shards) as reader, _threads(self.workers) as pool:
            for step in range(start, stop + self.prefetch):
                if step < stop:
                    ahead.append(self._submit(pool, reader, step, free))
                if step >= start + self.prefetch:
                    batch, buffer, tasks = ahead.popleft()
                    for task in tasks:
                        task.result()
                    yield batch
                    free.append(buffer)

    def _submit(
        self, pool: ThreadPoolExecutor, reader: Reader, step: int, free: deque[Pixels]
    ) -> tuple[Batch, Pixels, list[Future[None]]]:
        whole = self.order.batch(step)
        mine = part(len(whole), self.rank, self.world_size)
        ids = whole[mine]
        buffer = self._buffer(free, len(ids))
        images = buffer[: len(ids)]
        labels = self.shards.records["label"][ids].astype(np.int64)
        batch = Batch(step, ids, np.arange(len(whole))[mine], labels, images)
        starts = range(0, len(ids), CHUNK)
        tasks = [pool.submit(_decode_chunk, reader, ids[i : i + CHUNK], images[i : i + CHUNK]) for i in starts]
        return batch, buffer, tasks

    def _buffer(self, free: deque[Pixels], size: int) -> Pixels:
        if free and len(free[0]) >= size:
            return free.popleft()
        return self.allocate((size, self.side, self.side, 3))


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    try:
        yield pool
    finally:
        # What was read ahead is not wanted any more; what is being decoded still writes to a buffer.
        pool.shutdown(wait=True, cancel_futures=True)


def _decode_chunk(reader: Reader, ids: Ids, out: Pixels) -> None:
    for sample, pixels in zip(ids, out, strict=True):
        reader.decode(int(sample), pixels)
