"""A finished run, ready to look at any images with one of its heads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor

from dsva.model.dsva import Outputs
from dsva.trained import Trained
from dsva.zeroshot.candidates import Candidates, candidates
from dsva.zeroshot.judge import HeadName, Judge, device, judge, look
from dsva.zeroshot.results import choose_gamma, provenance
from shards.given import Bad, GivenBatch, find, read
from shards.loader import common_side


class Seen(NamedTuple):
    """A batch that was looked at: the images, the model's input [B, 3, S, S], and what the model says."""

    batch: GivenBatch
    pixels: Tensor
    outputs: Outputs


@dataclass(frozen=True, eq=False)
class Viewer:
    """The model of a run on a device, and the classes it is asked about.

    Attributes:
        trained: the run.
        judge: head and candidates.
        gamma: subtracted from the scores of classes seen in training, and where it comes from.
        device: that the model is on.
    """

    trained: Trained
    judge: Judge
    gamma: tuple[float, str]
    device: torch.device

    @classmethod
    def open(cls, run: Path, head: HeadName, classes: Sequence[str] = (), rows: Path | None = None) -> Self:
        """Open a run and gather the candidates, see `dsva.zeroshot.candidates.candidates`.

        Raises:
            UserError: as `Trained.open` and `candidates`, or gamma is to come from a validation run that it cannot come from.
        """
        trained = Trained.open(run)
        experiment = trained.experiment
        chosen = candidates(experiment.table, experiment.sets, classes, rows)
        gamma = choose_gamma(experiment.config.eval, head, provenance(experiment, 0, "", ""))
        return cls.of(trained, head, chosen, gamma, device())

    @classmethod
    def of(cls, trained: Trained, head: HeadName, chosen: Candidates, gamma: tuple[float, str], on: torch.device) -> Self:
        """Put an opened run before candidates."""
        trained.model.to(on).eval()
        return cls(trained, judge(trained.experiment, head, chosen, gamma[0], on), gamma, on)

    def look(self, images: Sequence[str], bad: list[Bad]) -> Iterator[Seen]:
        """Look at images, batch by batch.

        Args:
            images: see `shards.given.find` for what their names may be.
            bad: gets the images that cannot be used.

        Raises:
            UserError: a name that means nothing; before any image is looked at.
        """
        experiment = self.trained.experiment
        config = experiment.config
        given = find(images, experiment.shards)
        side = common_side(experiment.shards, config.data.resize)
        for batch in read(given, side, config.eval.batch_size, config.data.workers):
            bad += batch.bad
            if batch.images:
                yield Seen(batch, *look(config, self.trained.model, batch.pixels, self.device))

    def true_classes(self, batch: GivenBatch) -> list[str]:
        """Return the classes of images by the folders they lie in; "" where a folder is called like no class."""
        known = {*self.trained.experiment.table.classes, *self.judge.names}
        return [image.filed_under if image.filed_under in known else "" for image in batch.images]
