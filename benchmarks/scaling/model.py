"""How long a step takes on many nodes, by arithmetic: compute, ring all-reduce, reading, saving."""

import math
from dataclasses import dataclass, replace

BUCKET = 25 << 20  # bytes that DDP exchanges at once
BACKWARD = 2 / 3  # of a step's operations (Chowdhery et al. 2022, "PaLM", appendix B)


@dataclass(frozen=True)
class Work:
    """What one process does in an optimizer step.

    Attributes:
        images: of this process.
        parts: backward passes they are divided into; gradients are exchanged behind the last one.
        image_seconds: forward and backward pass of an image.
        fixed_seconds: what a step takes whatever the number of images: the update.
        reduced_bytes: of all gradients.
        overlap: share of the exchange that can be done behind the backward pass.
        read_bytes: of an image.
        checkpoint_bytes: of a whole checkpoint.
        checkpoint_every: steps.
        background: whether checkpoints are written behind the training, from a copy.
    """

    images: int
    parts: int
    image_seconds: float
    fixed_seconds: float
    reduced_bytes: float
    overlap: float
    read_bytes: float
    checkpoint_bytes: float
    checkpoint_every: int
    background: bool


@dataclass(frozen=True)
class Cluster:
    """Bandwidths in bytes/s, latencies in seconds.

    Attributes:
        local: of each link of a ring between the processes of a node.
        network: of a node.
        local_hop: latency of a link in a node.
        network_hop: latency of a link between nodes.
        read: of the shared file system, over all nodes.
        write: of the same.
    """

    local: float
    network: float
    local_hop: float
    network_hop: float
    read: float
    write: float


@dataclass(frozen=True)
class Step:
    """Seconds of a predicted step, as they add up.

    Attributes:
        compute: forward, backward, update.
        exchange: the part of the all-reduce that nothing hides.
        reading: waiting for images, which are read ahead.
        saving: a step's share of a checkpoint.
    """

    compute: float
    exchange: float
    reading: float
    saving: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.compute + self.exchange + self.reading + self.saving


def all_reduce_seconds(size: float, cluster: Cluster, nodes: int, gpus: int) -> float:
    """Return the time of a ring all-reduce (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms").

    Each of n processes sends 2 (n - 1) / n of the bytes, at the speed of the slowest link, in 2 (n - 1) hops, of which NCCL counts
    two a node as the network's; each bucket pays the hops.

    Args:
        size: bytes of the whole.
        cluster: its links.
        nodes: that the ring goes through, each once.
        gpus: processes of each.
    """
    n = nodes * gpus
    if n == 1:
        return 0.0
    links = ([cluster.local] if gpus > 1 else []) + ([cluster.network] if nodes > 1 else [])
    hops = 2 * (n - 1)
    outside = min(2 * nodes, hops) if nodes > 1 else 0
    latency = (hops - outside) * cluster.local_hop + outside * cluster.network_hop
    return hops / n * size / min(links) + math.ceil(size / BUCKET) * latency


def predict(work: Work, cluster: Cluster, nodes: int, gpus: int) -> Step:
    """Predict the step of `nodes` x `gpus` processes that do the same work each."""
    n = nodes * gpus
    computing = work.images * work.image_seconds
    exchange = all_reduce_seconds(work.reduced_bytes, cluster, nodes, gpus)
    # The last bucket is ready when the backward pass has ended.
    hideable = work.overlap * exchange * (1 - 1 / math.ceil(work.reduced_bytes / BUCKET))
    exposed = exchange - min(hideable, BACKWARD * computing / work.parts)
    compute = computing + work.fixed_seconds
    reading = max(0.0, n * work.images * work.read_bytes / cluster.read - compute - exposed)
    save = work.checkpoint_bytes / (n * cluster.local if work.background else cluster.write)
    return Step(compute, exposed, reading, save / work.checkpoint_every)


def efficiency(work: Work, cluster: Cluster, nodes: int, gpus: int) -> float:
    """Return images/s over those of as many processes that need not wait for each other."""
    return predict(work, cluster, 1, 1).seconds / predict(work, cluster, nodes, gpus).seconds


def same_batch(work: Work, batch: int, processes: int) -> Work:
    """Return the work of the busiest of so many processes where the global batch stays; parts are dropped as they empty."""
    images = -(-batch // processes)
    return replace(work, images=images, parts=min(work.parts, images))
