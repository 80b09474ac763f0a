"""The sample order: pure functions of (seed, step), the same on every rank, without state.

An order is made of hashes (`shards.hashing`), never of a generator that has to be saved: the global batch of any
step can be computed by anyone at once. A rank takes its part by arithmetic, so resuming needs one integer and the
number of ranks can change.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shards.hashing import BLOCKS, SHOTS, SHUFFLE, WAYS, hashes

Ids = NDArray[np.int64]


class Order(Protocol):
    """Which samples make up the global batch of a step."""

    def batch(self, step: int) -> Ids:
        """Return the sample ids of the global batch of `step`, in position order."""
        ...


@dataclass(frozen=True, eq=False)
class ShuffledEpochs:
    """Every sample once an epoch, in an order of its own each epoch; batches run across epoch ends.

    Attributes:
        ids: samples to draw from, [n].
        batch_size: global batch, over all ranks and accumulation steps.
        seed: of the run.
        shard_of: the shard of each of `ids`, [n]; only for `block_shards`.
        block_shards: shuffle the shards, then the samples inside blocks of this many shards, so
            that reads of an archive larger than the page cache stay mostly sequential; 0 shuffles all at once.
    """

    ids: Ids
    batch_size: int
    seed: int
    shard_of: NDArray[np.integer] | None = None
    block_shards: int = 0
    _epochs: dict[int, Ids] = field(default_factory=dict, repr=False)

    def epoch(self, epoch: int) -> Ids:
        """Return all of `ids` in the order of `epoch`, [n]."""
        if epoch not in self._epochs:
            for old in [e for e in self._epochs if e < epoch - 1]:
                del self._epochs[old]
            self._epochs[epoch] = self.ids[self._permutation(epoch)]
        return self._epochs[epoch]

    def _permutation(self, epoch: int) -> Ids:
        keys = hashes(self.seed, SHUFFLE, epoch, np.arange(len(self.ids)))
        if not self.block_shards or self.shard_of is None:
            return np.argsort(keys, kind="stable")
        shards, which = np.unique(self.shard_of, return_inverse=True)
        place = np.empty(len(shards), np.int64)
        place[np.argsort(hashes(self.seed, BLOCKS, epoch, shards), kind="stable")] = np.arange(len(shards))
        return np.lexsort((keys, place[which] // self.block_shards))

    def batch(self, step: int) -> Ids:
        """Return the sample ids of the global batch of `step`, [batch_size]."""
        first = step * self.batch_size
        epochs, places = np.divmod(np.arange(first, first + self.batch_size), len(self.ids))
        return np.concatenate([self.epoch(int(e))[places[epochs == e]] for e in np.unique(epochs)])


@dataclass(frozen=True, eq=False)
class Episodes:
    """Class-balanced batches: `ways` classes without replacement, `shots` images of each without replacement.

    Attributes:
        ids: samples to draw from, [n].
        labels: class of each of `ids`, [n].
        ways: classes in a batch.
        shots: images of each class in a batch; every class must have at least as many.
        seed: of the run.
    """

    ids: Ids
    labels: NDArray[np.integer]
    ways: int
    shots: int
    seed: int

    def batch(self, step: int) -> Ids:
        """Return the sample ids of the episode of `step`, class after class, [ways * shots]."""
        members = _members(self)
        classes = np.array(list(members))
        drawn = classes[np.argsort(hashes(self.seed, WAYS, step, classes), kind="stable")[: self.ways]]
        picks = []
        for label in drawn:
            ids = members[int(label)]
            picks.append(ids[np.argsort(hashes(self.seed, SHOTS, step, ids), kind="stable")[: self.shots]])
        return np.concatenate(picks)


@lru_cache(maxsize=4)
def _members(order: Episodes) -> dict[int, Ids]:
    return {int(label): order.ids[order.labels == label] for label in np.unique(order.labels)}


@dataclass(frozen=True, eq=False)
class Sequential:
    """The samples as they lie, for evaluation; the last batch may be short."""

    ids: Ids
    batch_size: int

    def batch(self, step: int) -> Ids:
        """Return the sample ids of batch `step`, at most [batch_size]."""
        return self.ids[step * self.batch_size : (step + 1) * self.batch_size]

    @property
    def steps(self) -> int:
        """How many batches hold a sample."""
        return -(-len(self.ids) // self.batch_size)


@dataclass(frozen=True, eq=False)
class Shifted:
    """An order without some of its batches: step s has the batch of step s + `by`."""

    order: Order
    by: int

    def batch(self, step: int) -> Ids:
        """Return the sample ids of the global batch of `step`, in position order."""
        return self.order.batch(step + self.by)


def part(size: int, rank: int, world_size: int) -> slice:
    """Return the positions of a global batch of `size` that belong to `rank`: contiguous, differing by at most one."""
    return slice(rank * size // world_size, (rank + 1) * size // world_size)
