"""Images that all ranks look at together, each at its share of them."""

from collections.abc import Callable, Iterator
from itertools import islice

from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from shards.loader import Batch, Loader, common_side
from shards.order import Ids, Sequential

Between = Callable[[], object]


class Share:
    """The whole batches of an order that belong to one rank.

    Batches, not parts of them: so an image meets the same companions, and gives the same bits, for any number of ranks.
    """

    def __init__(self, order: Sequential, ranks: Ranks) -> None:
        self._order, self._ranks = order, ranks
        self.steps = len(range(ranks.rank, order.steps, ranks.world_size))

    def batch(self, step: int) -> Ids:
        """Return this rank's batch number `step`."""
        return self._order.batch(step * self._ranks.world_size + self._ranks.rank)


def shared(experiment: Experiment, ids: Ids, ranks: Ranks, between: Between) -> Iterator[Batch]:
    """Yield this rank's batches of the images `ids`.

    Args:
        experiment: its shards, and how they are read.
        ids: samples, in this order.
        ranks: all processes; every one iterates to the end.
        between: called before each batch, by all ranks equally often, so that it may ask them all something. What it raises ends
            the iteration.
    """
    data, shards = experiment.config.data, experiment.shards
    whole = Sequential(ids, experiment.config.eval.batch_size)
    order = Share(whole, ranks)
    loader = Loader(shards, order, common_side(shards, data.resize), workers=data.workers, prefetch=data.prefetch)
    batches = loader.batches(0, order.steps)
    try:
        for _ in range(0, whole.steps, ranks.world_size):
            between()
            yield from islice(batches, 1)
    finally:
        batches.close()
