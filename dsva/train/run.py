"""A training run from start or checkpoint to its table of scores, around the loop."""

import logging
import os
import signal
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TextIO

from dsva.config import Config
from dsva.evaluation import evaluate
from dsva.evaluation.baselines import baselines
from dsva.evaluation.metrics import Decisions
from dsva.evaluation.results import Weights, provenance
from dsva.exit_codes import DONE, signal_of, stopped_by
from dsva.inference.trained_run import Trained
from dsva.processes.joining import described, set_environment
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.provenance.starts import other_code
from dsva.run_directory import METRICS
from dsva.runs.progress import set_aside
from dsva.runs.record import note_end, note_start, open_record, set_damaged_aside, unlike_before, why_started
from dsva.tables import Table
from dsva.train.bad_steps import GoBackError
from dsva.train.deepspeed_zero import deepspeed_settings
from dsva.train.engine import torch_settings_restored
from dsva.train.launcher_death import leaving_with_launcher
from dsva.train.loop import train
from dsva.train.phases import Phases
from dsva.train.shared_mistakes import mistakes_of_all
from dsva.train.stopping import SignalLeadTime, StoppedError, StopSignal
from dsva.train.stragglers import slowest_table
from dsva.train.trainer import Trainer
from dsva.train.watchdog import Watchdog
from dsva.usage import hardware
from shards.errors import UserError

log = logging.getLogger(__name__)


def run(config: Config, from_scratch: bool = False) -> int:
    """Train, or continue, the run in `config.run.dir`, then score it.

    Args:
        config: of the run.
        from_scratch: set aside what the run has written so far, and begin anew.

    Returns:
        0 when the run is finished, 128 plus a signal's number when it was stopped and saved.

    Raises:
        UserError: anything that is wrong with what the user gave, before the first step; or bad steps without end.
    """
    experiment = Experiment.open(config)
    evaluate.check_gamma(experiment)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        stack.enter_context(leaving_with_launcher(os.environ))
        settings = deepspeed_settings(config)
        stack.enter_context(set_environment(os.environ, deepspeed=settings is not None))
        stack.enter_context(torch_settings_restored())
        # DDP that may meet unused parameters keeps its buckets. Else it sorts them anew after the first step of every start,
        # which changes the order in which three ranks or more are summed, and with it the last bits of a continued run.
        ranks = Ranks(config.train.precision, unused_parameters=True, deepspeed=settings)
        stack.callback(ranks.close)
        ranks.on_rank_0(lambda: stack.enter_context(_record(experiment, from_scratch)))
        start, phases = ranks.broadcast(f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"), Phases(ranks.device)
        if ranks.world_size > 1:
            stack.enter_context(mistakes_of_all(config.run.dir, start, ranks.rank))
        lead = SignalLeadTime(os.environ)
        if choices := described():
            log.info(choices)
        for sentence in experiment.sets.warnings:
            log.warning(sentence)
        try:
            with Watchdog.over(config.run.dir, start, ranks.rank, config.faults.hang_seconds, lambda: (phases.now, phases.since)):
                decisions, weights = _to_the_end(experiment, ranks, phases, stop, lead)
            ranks.on_rank_0(lambda: evaluate.report(experiment, decisions, provenance(experiment, weights, str(ranks.device))))
            ended, code = "finished", DONE
        except StoppedError as stopped:
            ended, code = f"stopped by {signal.Signals(stopped.number).name} and saved", stopped_by(stopped.number)
            log.info("%s: the same command continues the run", ended)
        if ranks.rank == 0:
            note_end(config.run.dir, ended)
        # gloo's threads let go of their last tensors here, while this one does not hold the interpreter: torch ends the group
        # holding it, and would wait for them for ever.
        ranks.barrier()
        return code


def _record(experiment: Experiment, from_scratch: bool) -> TextIO:
    run = experiment.config.run.dir
    lock = open_record(experiment.config, experiment.hashes())
    if from_scratch and (target := set_aside(run)):
        note_end(run, "begun anew by --from-scratch")
        log.info("what the run had written is kept in %s", target)
    return lock


def _to_the_end(
    experiment: Experiment, ranks: Ranks, phases: Phases, stop: StopSignal, lead: SignalLeadTime
) -> tuple[dict[str, Decisions], Weights]:
    """Train, going back where bad steps ask for it, and decide on the test images with both heads and the baselines.

    Returns:
        The decisions by source of scores, and what tells the weights that they come from.
    """
    config, back = experiment.config, None
    while True:
        trainer = Trainer(experiment, ranks, phases, back)
        ranks.on_rank_0(partial(_note_start, experiment, ranks, trainer.start, back))
        try:
            train(trainer, config, ranks, stop, lead)
            break
        except GoBackError as error:
            back = error
            trainer.saver.settle()
            del trainer
            ranks.forget()
        except UserError as error:
            if ranks.rank == 0:
                note_end(config.run.dir, str(error))
            raise

    def between() -> None:
        phases.tick()
        stop.agree(ranks)

    decisions = trainer.evaluate(between)
    with phases.during("baselines"):
        trained = Trained.open(config.run.dir)
        if trained.checkpoint.step != config.train.steps:
            raise UserError(
                f"the checkpoint of step {config.train.steps} in {config.run.dir} was damaged after it had been written: look at "
                "the disk, and give the same command again, which takes the last steps once more"
            )
        return decisions | baselines(experiment, trained.model.to(ranks.device), ranks, between), trained.weights


def _note_start(experiment: Experiment, ranks: Ranks, step: int, back: GoBackError | None) -> None:
    """Note this start, and say what is other than before and changes what comes of it."""
    config = experiment.config
    here = {**hardware(ranks), "engine": config.train.engine, "accumulation": config.train.accumulation}
    why = "went back because of bad steps" if back else why_started(config.run.dir, os.environ)
    changes = (unlike_before(config.run.dir, here), other_code(config.run.dir, step)) if step else ()
    for changed in filter(None, (set_damaged_aside(config.run.dir), *changes)):
        log.warning(changed)
    note_start(config, step, experiment.hashes(), here, why)


def complete(config: Config) -> None:
    """Train, or continue, a run until it is scored.

    Raises:
        StoppedError: a signal came, and the run is saved.
        UserError: as `run`.
    """
    if stopped := signal_of(run(config)):
        raise StoppedError(stopped)


def told(run: Path) -> list[Table | str]:
    """Return what a command answers when a run is trained and scored."""
    slowest = slowest_table(run / METRICS)
    return [*evaluate.told(run), *([slowest] if slowest else [])]
