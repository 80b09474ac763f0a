"""Runs that have been trained: their experiment, their model, and scoring them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console

from dsva.experiment import Experiment
from dsva.model.dsva import DSVA
from dsva.ranks import Ranks
from dsva.train.checkpoint import Checkpoint, load_trained
from dsva.train.record import CHECKPOINTS, read_config
from dsva.zeroshot.baselines import baselines
from dsva.zeroshot.evaluate import evaluate, report
from dsva.zeroshot.results import provenance


@dataclass(frozen=True, eq=False)
class Trained:
    """A run with the weights of its newest complete checkpoint.

    Attributes:
        experiment: the data side of the run.
        model: with the running mean of the weights, where the run kept one.
        checkpoint: where the weights come from.
    """

    experiment: Experiment
    model: DSVA
    checkpoint: Checkpoint

    @classmethod
    def open(cls, folder: Path, overrides: Sequence[str] = ()) -> Self:
        """Open the run in `folder`, with configuration values changed by `overrides`.

        Raises:
            UserError: no run, no complete checkpoint, or data that is not what it was trained with.
        """
        experiment = Experiment.open(read_config(folder, overrides))
        model = experiment.build_model()
        checkpoint = load_trained(model, folder / CHECKPOINTS, experiment.shards.digest)
        return cls(experiment, model, checkpoint)


def evaluate_run(folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Score a run on its test images: table, pictures and results.json.

    Raises:
        UserError: as `Trained.open`, or a validation run that gamma cannot be taken from.
    """
    trained = Trained.open(folder, (*overrides, f"run.dir={folder}"))
    ranks = Ranks(trained.experiment.config.train.precision)
    model = trained.model.to(ranks.device)
    decisions = evaluate(trained.experiment, model, ranks) | baselines(trained.experiment, model, ranks)
    if ranks.rank == 0:
        made = provenance(trained.experiment, trained.checkpoint.step, trained.checkpoint.sha256(), str(ranks.device))
        report(trained.experiment, decisions, made, console)
    ranks.close()
