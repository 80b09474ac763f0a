"""Runs that have been trained: their experiment, their model, and scoring them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console

from dsva import card
from dsva.experiment import Experiment
from dsva.files import whole_folder, write_atomically
from dsva.model.dsva import DSVA
from dsva.model.exported import Clip, Exported, Source, write_config, write_weights
from dsva.ranks import Ranks
from dsva.starts import code_of
from dsva.train.checkpoint import PREFIX, Checkpoint, load_trained
from dsva.train.gate import CHECKPOINTS, admit
from dsva.train.record import read_config
from dsva.zeroshot.baselines import baselines
from dsva.zeroshot.evaluate import evaluate, report
from dsva.zeroshot.results import RESULTS, Results, provenance


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
    def open(cls, folder: Path, overrides: Sequence[str] = (), prefix: str = PREFIX) -> Self:
        """Open the run in `folder`, with configuration values changed by `overrides` that change nothing it has learnt.

        Args:
            folder: of the run.
            overrides: as on the command line.
            prefix: of the names of the checkpoints to choose the newest complete one from.

        Raises:
            UserError: no run, no complete checkpoint, or a configuration or data that is not what it was trained with.
        """
        config = read_config(folder, overrides)
        admit(folder, config)  # other classes or shares would test on what was trained on; inputs are the checkpoint's matter
        experiment = Experiment.open(config)
        model = experiment.build_model()
        checkpoint = load_trained(model, folder / CHECKPOINTS, experiment.hashes(), prefix)
        return cls(experiment, model, checkpoint)

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
                checkpoint_sha256=self.checkpoint.sha256(),
                data_digest=self.experiment.shards.digest,
                code=code_of(config.run.dir, self.checkpoint.step),
            ),
        )

    def _results(self) -> Results | None:
        """Return the results of this very checkpoint, if it was scored."""
        file = self.experiment.config.run.dir / RESULTS
        results = Results.read(file) if file.is_file() else None
        return results if results and results.provenance.checkpoint_sha256 == self.checkpoint.sha256() else None


def evaluate_run(folder: Path, overrides: Sequence[str], console: Console) -> None:
    """Score a run on its test images: table, pictures and results.json.

    Raises:
        UserError: as `Trained.open`, or a validation run that gamma cannot be taken from.
    """
    trained = Trained.open(folder, (*overrides, f"run.dir={folder}"))
    ranks = Ranks(trained.experiment.config.train.precision)
    model = trained.model.to(ranks.device)
    decisions = evaluate(trained.experiment, model, ranks) | baselines(trained.experiment, model, ranks)
    made = provenance(trained.experiment, trained.checkpoint.step, trained.checkpoint.sha256(), str(ranks.device))
    ranks.on_first(lambda: report(trained.experiment, decisions, made, console))
    ranks.close()
