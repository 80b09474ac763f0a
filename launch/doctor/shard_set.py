"""A shard set: whether its files are there, and some of its images what they were."""

import os
import time

import numpy as np
import xxhash

from launch.doctor.finding import Asked, Finding
from shards.index import ShardSet

IMAGES, SECONDS = 64, 10.0


def shard_set(asked: Asked) -> Finding:
    """Open the set, look at every shard's size, and read images from all over it.

    Raises:
        UserError: it is no set, or its index is damaged.
        OSError: a file cannot be read.
    """
    shards = ShardSet.open(asked.shards)
    sizes = {shard.name: (shards.root / shard.name).stat().st_size for shard in shards.shards}
    wrong = [shard.name for shard in shards.shards if sizes[shard.name] != shard.size]
    read, start = 0, time.perf_counter()
    for sample in np.linspace(0, len(shards) - 1, min(IMAGES, len(shards))).astype(int):
        if time.perf_counter() - start > SECONDS:
            break
        data = _image(shards, int(sample))
        read += len(data)
        if xxhash.xxh3_64_intdigest(data) != shards.records["checksum"][sample]:
            wrong.append(f"{shards.path(int(sample)).name} ({shards.key(int(sample))})")
    if wrong:
        said = f"{asked.shards}: damaged: {', '.join(wrong[:4])}"
        return Finding("shards", "FAIL", said, f"dsva shards verify {asked.shards} tells all; pack again, or restore the shards")
    rate = read / max(time.perf_counter() - start, 1e-9) / 1e6
    return Finding("shards", "OK", f"{asked.shards}: {len(shards):,} images in {len(sizes)} shards, random reads {rate:,.0f} MB/s")


def _image(shards: ShardSet, sample: int) -> bytes:
    record = shards.records[sample]
    descriptor = os.open(shards.path(sample), os.O_RDONLY)
    try:
        return os.pread(descriptor, int(record["length"]), int(record["offset"]))
    finally:
        os.close(descriptor)
