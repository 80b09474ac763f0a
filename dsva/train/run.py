"""A training run from start or checkpoint to its table of scores. The loop."""

import signal
from contextlib import ExitStack

from rich.console import Console

from dsva.config import Config
from dsva.experiment import Experiment
from dsva.processes import described
from dsva.ranks import Ranks
from dsva.train.checkpoint import newest
from dsva.train.metrics import Metrics
from dsva.train.record import CHECKPOINTS, note_start, open_record
from dsva.train.stopping import StopSignal
from dsva.train.trainer import SCORE, Trainer
from dsva.train.zero import deepspeed_settings
from dsva.trained import Trained
from dsva.zeroshot.baselines import baselines
from dsva.zeroshot.evaluate import check_gamma, report
from dsva.zeroshot.results import provenance
from shards.errors import UserError


def run(config: Config, console: Console) -> int:
    """Train, or continue, the run in `config.run.dir`, then score it.

    Returns:
        0 when the run is finished, 128 plus a signal's number when it was stopped and saved.

    Raises:
        UserError: anything that is wrong with what the user gave, before the first step.
    """
    experiment = Experiment.open(config)
    check_gamma(experiment)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        # DDP that may meet unused parameters keeps its buckets. Else it sorts them anew after the first step of every start,
        # which changes the order in which three ranks or more are summed, and with it the last bits of a continued run.
        ranks = Ranks(config.train.precision, unused_parameters=True, deepspeed=deepspeed_settings(config))
        stack.callback(ranks.close)
        ranks.on_first(lambda: stack.enter_context(open_record(config)))
        if ranks.rank == 0:
            if told := described():
                console.print(told)
            for sentence in experiment.sets.warnings:
                console.print(f"[bold yellow]warning:[/] {sentence}")
        trainer = Trainer(experiment, ranks, console)
        if ranks.rank == 0:
            note_start(config, trainer.start, ranks.world_size, str(ranks.device))
        received = train(trainer, config, ranks, stop, console)
        if received:
            console.print(f"stopped by {signal.Signals(received).name} and saved: the same command continues the run")
            ranks.barrier()
            return 128 + received
        decisions = trainer.evaluate() | baselines(experiment, Trained.open(config.run.dir).model.to(ranks.device), ranks)
        if ranks.rank == 0:
            checkpoint, _ = newest(config.run.dir / CHECKPOINTS)
            assert checkpoint is not None, "the last step is always saved"
            report(experiment, decisions, provenance(experiment, checkpoint.step, checkpoint.sha256(), str(ranks.device)), console)
        # gloo's threads let go of their last tensors here, while this one does not hold the interpreter: torch ends the group
        # holding it, and would wait for them for ever.
        ranks.barrier()
        return 0


def train(trainer: Trainer, config: Config, ranks: Ranks, stop: StopSignal, console: Console) -> int:
    """Take the steps that are left; return the number of the signal that stopped them, or 0."""
    steps, every = config.train.steps, config.run
    with Metrics.on_rank(ranks.rank, config.run.dir, trainer.start, steps, console) as log:
        for batch in trainer.batches():
            terms = trainer.step(batch)
            done = batch.step + 1
            received = ranks.anyone(stop.received)
            last = received or done == steps
            if last or done % every.log_every == 0:
                log(done, trainer.metrics(batch, terms))
            score = None
            if config.validation.every and done % config.validation.every == 0:
                values = trainer.validate()
                log(done, values)
                score = values[SCORE]
            due = last or done % every.checkpoint_every == 0 or (score is not None and trainer.saver.improves(score))
            saved = not due or trainer.save(done, score)
            if not (trainer.saver.settle(wait=bool(last)) and saved) and last:
                raise UserError(f"step {done} could not be saved: make room for {config.run.dir} and give the same command again")
            if received:
                return received
    return 0
