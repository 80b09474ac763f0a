"""The training loop: take a step, log, validate, save, stop; all ranks together."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dsva.config import Config
from dsva.processes.ranks import Ranks
from dsva.run_directory import METRICS
from dsva.train.metrics_log import Metrics, cut
from dsva.train.stopping import SignalLeadTime, StoppedError, StopSignal
from dsva.train.trainer import SCORE, Trainer
from shards.errors import UserError

Log = Callable[[int, Mapping[str, Any]], None]


def train(trainer: Trainer, config: Config, ranks: Ranks, stop: StopSignal, lead: SignalLeadTime) -> None:
    """Take the steps that are left.

    Raises:
        StoppedError: a signal came, and everything is saved.
        GoBackError: too many bad steps.
    """
    steps, every = config.train.steps, config.run
    stop.agree(ranks)
    ranks.on_rank_0(partial(cut, every.dir / METRICS, trainer.start))
    with Metrics.on_rank(ranks.rank, every.dir, trainer.start, steps) as log:
        if trainer.owes_validation:
            trainer.save(trainer.start, _validated(trainer, trainer.start, log, ranks, stop))
            trainer.saver.settle()
        for batch in trainer.batches():
            begun, done = time.monotonic(), batch.step + 1
            terms = trainer.step(batch)
            received = ranks.all_max(stop.received)
            if received or done == steps or done % every.log_every == 0:
                log(done, trainer.metrics(batch, terms))
            step_seconds = time.monotonic() - begun
            score, owed = None, bool(config.validation.every) and done % config.validation.every == 0
            if owed and not received:
                try:
                    score, owed = _validated(trainer, done, log, ranks, stop), False
                except StoppedError as stopped:
                    received = stopped.number
            last = received or done == steps
            due = last or done % every.checkpoint_every == 0 or (score is not None and trainer.saver.improves(score))
            saved = not due or trainer.save(done, score, owed)
            if not (trainer.saver.settle(wait=bool(last)) and saved) and last:
                raise UserError(f"step {done} could not be saved: make room for {config.run.dir} and give the same command again")
            lead.check(step_seconds, trainer.saver.seconds)
            if received:
                raise StoppedError(received)


def _validated(trainer: Trainer, step: int, log: Log, ranks: Ranks, stop: StopSignal) -> float:
    """Look at the validation classes after `step`, log what comes of it and return the score."""

    def between() -> None:
        trainer.phases.tick()
        stop.agree(ranks)

    values = trainer.validate(between)
    log(step, values)
    return float(values[SCORE])
