"""A trained model and the classes it chooses among: from pixels to class scores, and what each attribute adds to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dsva.config import Config, HeadName
from dsva.inference.candidates import Candidates
from dsva.model.dsva import DSVA, Outputs
from dsva.model.scores import ClassRows, class_rows
from dsva.pixels import eval_pixels
from dsva.protocol.experiment import Experiment
from shards.decode import Pixels
from shards.errors import UserError


def device() -> torch.device:
    """Return the device that a single process looks at images with."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def look(config: Config, model: DSVA, images: Pixels, on: torch.device) -> tuple[Tensor, Outputs]:
    """Show test images to a model.

    Args:
        config: of the run.
        model: on the device `on`, in evaluation mode.
        images: RGB, [B, side, side, 3].
        on: device.

    Returns:
        The model's input, [B, 3, S, S], and what it says about it.
    """
    pixels = eval_pixels(torch.from_numpy(images).to(on), config.data)
    with torch.autocast(on.type, torch.bfloat16, enabled=config.train.precision == "bf16"):
        return pixels, model(pixels, regions=config.model.regions)


@dataclass(frozen=True, eq=False)
class Classifier:
    """One head's choice among candidate classes.

    Attributes:
        head: whose attributes are compared with the classes' rows.
        names: the candidates, [C].
        rows: of the candidates.
        handicap: subtracted from each candidate's score, [C]: gamma for classes seen in training, 0 for the others.
        region_weight: weight of the region's scores in the main head's.
    """

    head: HeadName
    names: Sequence[str]
    rows: ClassRows
    handicap: Tensor
    region_weight: float

    def scores(self, outputs: Outputs) -> Tensor:
        """Return the class scores [B, C] before the handicap: `attributes` times the classes' rows."""
        return self.attributes(outputs) @ self.rows.compared(self.rows.values).T / self.rows.divisor

    def chances(self, outputs: Outputs) -> Tensor:
        """Return what the candidates are ranked by, [B, C]: scores less the handicap.

        The published code subtracts gamma from probabilities; everywhere else it is subtracted from the scores.

        Raises:
            UserError: a score is not finite, as those of a diverged model are.
        """
        scores = self.scores(outputs)
        if not scores.isfinite().all():
            raise UserError(f"scores by the {self.head} head are not finite: train with a lower optimizer.lr, or mend the rows")
        return (scores.softmax(1) if self.rows.config.double_softmax else scores) - self.handicap

    def attributes(self, outputs: Outputs) -> Tensor:
        """Return the attributes that the scores are made of, as the dot product meets them, [B, K]."""
        if self.head == "proto":
            return self.rows.compared(outputs.proto)
        whole = self.rows.compared(outputs.main)
        return whole if outputs.region is None else whole + self.region_weight * self.rows.compared(outputs.region)

    def class_attributes(self, places: Tensor) -> Tensor:
        """Return the rows of the candidates at `places` [B], as the dot product meets them, [B, K]."""
        return self.rows.compared(self.rows.values)[places]

    def contributions(self, outputs: Outputs, places: Tensor) -> Tensor:
        """Return what each attribute adds to the score of the candidates at `places` [B]; rows of [B, K] sum to the scores."""
        return self.attributes(outputs) * self.class_attributes(places) / self.rows.divisor


def classifier(experiment: Experiment, head: HeadName, candidates: Candidates, gamma: float, on: torch.device) -> Classifier:
    """Put a head of a run before candidate classes; rows are standardised as in training, by the seen classes only."""
    strengths = np.concatenate([experiment.table.rows(experiment.sets.seen), candidates.strengths])
    n_seen = experiment.sets.n_seen
    rows = class_rows(torch.from_numpy(strengths).to(on), n_seen, experiment.config.scores).part(slice(n_seen, None))
    handicap = torch.tensor([gamma if name in experiment.sets.seen else 0.0 for name in candidates.names], device=on)
    return Classifier(head, candidates.names, rows, handicap, experiment.config.model.region_weight)
