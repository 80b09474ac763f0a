"""A finished run, ready to look at any images with one of its heads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor

from dsva.config import Config, HeadName
from dsva.evaluation.gamma import choose_gamma
from dsva.evaluation.results import NO_WEIGHTS, provenance
from dsva.inference.candidates import Candidates, candidates, read_rows
from dsva.inference.classifier import Classifier, classifier, device, look
from dsva.inference.described_classes import described
from dsva.inference.trained_run import Trained
from dsva.model.dsva import DSVA, Outputs
from dsva.protocol.attribute_table import AttributeTable
from shards.errors import UserError
from shards.index import ShardSet
from shards.loader import common_side
from shards.names import matching
from shards.user_images import Given, Unused, UserBatch, find, read


class New(NamedTuple):
    """Classes that a run's attribute table has not.

    Attributes:
        rows: file of rows, see `dsva.inference.candidates.read_rows`.
        described: classes as `Name` or `Name: description`, see `dsva.inference.described_classes.described`.
        clip: CLIP model that makes rows of descriptions; None takes the attribute table's, or else the words themselves.
    """

    rows: Path | None = None
    described: Sequence[str] = ()
    clip: str | None = None

    def candidates(self, table: AttributeTable, seen: Sequence[str]) -> list[Candidates]:
        """Return them, on the table's scale; `seen` were trained on."""
        found = [read_rows(self.rows, table)] if self.rows else []
        if self.clip and not self.described:
            raise UserError(f"--clip {self.clip} makes rows of descriptions: give a class with --new")
        return [*found, described(self.described, table, seen, self.clip)] if self.described else found


class Viewed(NamedTuple):
    """A batch that was looked at: the images, the model's input [B, 3, S, S], and what the model says."""

    batch: UserBatch
    pixels: Tensor
    outputs: Outputs


@dataclass(frozen=True, eq=False)
class Viewer:
    """The model of a run on a device, and the classes it is asked about.

    Attributes:
        trained: the run.
        classifier: head and candidates.
        gamma: subtracted from the scores of classes seen in training, and where it comes from.
        device: that the model is on.
        made: by name of each new class, where its row comes from.
    """

    trained: Trained
    classifier: Classifier
    gamma: tuple[float, str]
    device: torch.device
    made: Mapping[str, str]

    @classmethod
    def open(
        cls, run: Path, head: HeadName, classes: Sequence[str] = (), new: New | None = None, gamma: float | None = None
    ) -> Self:
        """Open a run and gather the candidates, see `dsva.inference.candidates.candidates`; `gamma` takes the place of the run's.

        Raises:
            UserError: as `Trained.open`, `candidates` and `New.candidates`, or gamma is to come from a validation run that it
                cannot come from.
        """
        trained = Trained.open(run)
        experiment = trained.experiment
        table, sets = experiment.table, experiment.sets
        chosen = candidates(table, sets, classes, new.candidates(table, sets.seen) if new else ())
        evaluation = experiment.config.eval
        if gamma is not None:
            evaluation = evaluation.model_copy(update={"gamma": gamma})
        told = choose_gamma(evaluation, head, provenance(experiment, NO_WEIGHTS, ""))
        return cls.of(trained, head, chosen, told, device())

    @classmethod
    def of(cls, trained: Trained, head: HeadName, chosen: Candidates, gamma: tuple[float, str], on: torch.device) -> Self:
        """Put an opened run before candidates."""
        trained.model.to(on).eval()
        return cls(trained, classifier(trained.experiment, head, chosen, gamma[0], on), gamma, on, chosen.made)

    def look(self, images: Sequence[Given], unused: Unused) -> Iterator[Viewed]:
        """Look at images, batch by batch.

        Args:
            images: see `shards.user_images.find` for what they may be.
            unused: gets what cannot be used.

        Raises:
            UserError: a name that means nothing; before any image is looked at.
        """
        experiment = self.trained.experiment
        return look_at(experiment.config, self.trained.model, self.device, experiment.shards, images, unused)

    def true_classes(self, batch: UserBatch) -> list[str]:
        """Return the classes of images by the folders they lie in; "" where a folder is called like no class."""
        return true_classes(batch, [*self.classifier.names, *self.trained.experiment.table.classes])


def look_at(
    config: Config, model: DSVA, on: torch.device, own: ShardSet | None, images: Sequence[Given], unused: Unused
) -> Iterator[Viewed]:
    """Show images to a model, batch by batch, as `look` does.

    Args:
        config: of the run.
        model: on the device `on`, in evaluation mode.
        on: device.
        own: shard set of the run, whose keys may be given and whose images the others are read like; if there is one.
        images: see `shards.user_images.find`.
        unused: gets what cannot be used.
    """
    given = find(images, own, unused)
    side = common_side(own, config.data.resize) if own else config.data.resize
    for batch in read(given, side, config.eval.batch_size, config.data.workers):
        unused.bad += batch.bad
        if batch.images:
            yield Viewed(batch, *look(config, model, batch.pixels, on))


def true_classes(batch: UserBatch, known: Sequence[str]) -> list[str]:
    """Return which of the known classes images are filed under; "" where that is none."""
    folders = {image.filed_under for image in batch.images}
    classes = {folder: matching(folder, known) or "" for folder in folders}
    return [classes[image.filed_under] for image in batch.images]
