"""Runs that have been trained: their experiment, their model, and scoring them again."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dsva.evaluation.baselines import baselines
from dsva.evaluation.evaluate import evaluate, report
from dsva.evaluation.results import Results, Weights, provenance
from dsva.files import whole_folder, write_atomically
from dsva.inference import card
from dsva.model.dsva import DSVA
from dsva.model.exported import Clip, Exported, Source, write_config, write_weights
from dsva.processes.joining import set_environment
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.provenance.starts import code_of
from dsva.run_directory import CHECKPOINTS, RESULTS
from dsva.runs.checkpoint import Checkpoint, Chosen, best, newest, weights_sha256
from dsva.runs.checkpoint_match import refuse_other, refuse_unfit
from dsva.runs.gate import admit
from dsva.runs.progress import gone
from dsva.runs.record import read_config
from dsva.settings import as_override
from shards.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Trained:
    """A run with the weights of one of its checkpoints.

    Attributes:
        experiment: the data side of the run.
        model: with the running mean of the weights, where the run kept one.
        checkpoint: where the weights come from.
        weights: what tells them from others.
        warnings: sentences on what is not as it should be with the checkpoints; they were logged, too.
    """

    experiment: Experiment
    model: DSVA
    checkpoint: Checkpoint
    weights: Weights
    warnings: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path, overrides: Sequence[str] = (), choose: Callable[[Path], Chosen] = newest) -> Self:
        """Open the run in `folder`, with configuration values changed by `overrides` that change nothing it has learnt.

        Args:
            folder: of the run.
            overrides: as on the command line.
            choose: the checkpoint, from the folder of all. If it is not the one that should have been it, a warning tells.

        Raises:
            UserError: no run, no complete checkpoint, or a configuration or data that is not what it was trained with.
        """
        config = read_config(folder, overrides)
        admit(folder, config)  # other classes or shares would test on what was trained on; inputs are the checkpoint's matter
        experiment = Experiment.open(config)
        checkpoint, unused = choose(folder / CHECKPOINTS)
        if checkpoint is None:
            missing = "none has a score on validation classes" if choose is best else "nothing was saved"
            reasons = "; ".join(unused) or missing
            raise UserError(f"{folder / CHECKPOINTS} holds no complete checkpoint ({reasons}): train with `dsva train` first")
        refuse_other(checkpoint, config, experiment.hashes())
        model = experiment.build_model()
        refuse_unfit(checkpoint, config, model)
        checkpoint.restore_weights(model, mean=True)
        warnings = (*unused, *(gone(folder) if choose is newest else ()), *checkpoint.notes)
        if checkpoint.step < config.train.steps and choose is newest:
            warnings = (*warnings, f"{folder} has not come to its end: step {checkpoint.step} of {config.train.steps}")
        if unused:
            warnings = (*warnings, f"what follows is of the weights after step {checkpoint.step}, in {checkpoint.path}")
        for sentence in warnings:
            log.warning(sentence)
        weights = Weights(checkpoint.step, checkpoint.sha256, weights_sha256(model))
        return cls(experiment, model, checkpoint, weights, warnings)

    def export(self, target: Path) -> Path:
        """Write the model by itself into a new folder, for `DSVA.from_pretrained`, with a model card; return the folder.

        Raises:
            UserError: the folder is not empty.
        """
        with whole_folder(target) as folder:
            exported = self._exported(write_weights(folder, self.model.state_dict()))
            backbone = self.experiment.config.model.backbone
            write_atomically(folder / card.NAME, card.card(exported, backbone, self._results()))
            write_config(folder, exported)
        return target

    def _exported(self, weights_sha256: str) -> Exported:
        config, sets, table = self.experiment.config, self.experiment.sets, self.experiment.table
        return Exported(
            weights_sha256=weights_sha256,
            model=config.model.model_copy(update={"gradient_checkpointing": False, "compile": False}),
            clip=Clip.of(self.model.backbone.config),
            image_size=config.data.image_size,
            resize=config.data.resize,
            normalize=config.data.normalize,
            scores=config.scores,
            attributes=table.names,
            groups=dict(table.groups),
            classes=sets.classes,
            n_seen=sets.n_seen,
            strengths=tuple(tuple(row) for row in table.rows(sets.classes).tolist()),
            source=Source(
                step=self.checkpoint.step,
                checkpoint_sha256=self.checkpoint.sha256,
                data_digest=self.experiment.shards.digest,
                code=code_of(config.run.dir, self.checkpoint.step),
            ),
        )

    def _results(self) -> Results | None:
        """Return the results of this very checkpoint, if it was scored."""
        file = self.experiment.config.run.dir / RESULTS
        results = Results.read(file) if file.is_file() else None
        return results if results and results.provenance.checkpoint_sha256 == self.checkpoint.sha256 else None


def evaluate_run(folder: Path, overrides: Sequence[str]) -> None:
    """Score a run on its test images: tables, pictures and results.json.

    Raises:
        UserError: as `Trained.open`, or a validation run that gamma cannot be taken from.
    """
    with set_environment(os.environ):
        trained = Trained.open(folder, (*overrides, as_override("run.dir", folder)))
        ranks = Ranks(trained.experiment.config.train.precision)
        model = trained.model.to(ranks.device)
        decisions = evaluate(trained.experiment, model, ranks) | baselines(trained.experiment, model, ranks)
        made = provenance(trained.experiment, trained.weights, str(ranks.device))
        ranks.on_rank_0(lambda: report(trained.experiment, decisions, made))
        ranks.close()
