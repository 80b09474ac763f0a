"""Why an image went to its class: what each attribute added to the score, exactly, and where the model saw it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsva.inference.classifier import Classifier
from dsva.model.dsva import Outputs

Floats = NDArray[np.float64]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image's decision between the class it went to and the rival: its true class, or the second best if it is right.

    Attributes:
        image: name of the image.
        true: its class; "" where nobody knows.
        predicted: class that it went to.
        rival: class that it is compared with; "" where there was no other candidate.
        score: of the predicted class, before gamma.
        rival_score: of the rival, before gamma.
        handicap: gamma subtracted from the score of the predicted class and of the rival.
        names: of the attributes, [K].
        values: of the image, as the dot product meets them, [K].
        row: of the predicted class, likewise, [K].
        rival_row: of the rival, likewise, [K]; zeros where there is none.
        divisor: contributions are products of values and row over this.
        maps: attention maps, [K, h, w].
        box: region as left, top, right, bottom (exclusive), pixels of the model's input; None if the run has none.
    """

    image: str
    true: str
    predicted: str
    rival: str
    score: float
    rival_score: float
    handicap: tuple[float, float]
    names: Sequence[str]
    values: Floats
    row: Floats
    rival_row: Floats
    divisor: float
    maps: NDArray[np.float32]
    box: Box | None

    @property
    def contributions(self) -> Floats:
        """What each attribute adds to the score of the predicted class, [K]; sums to the score."""
        return self.values * self.row / self.divisor

    @property
    def rival_contributions(self) -> Floats:
        """What each attribute adds to the rival's score, [K]; sums to it."""
        return self.values * self.rival_row / self.divisor

    @property
    def margins(self) -> Floats:
        """By how much each attribute speaks for the predicted class against the rival, [K]; sums to the scores' difference."""
        return self.contributions - self.rival_contributions

    def deciding(self, k: int) -> list[int]:
        """Return the places of the `k` attributes with the largest margins in favour of the decision, the largest first."""
        return [int(place) for place in np.argsort(-self.margins, kind="stable")[:k]]

    def record(self) -> dict[str, Any]:
        """Return all of it but the maps as plain values, attributes by falling margin."""
        columns = {
            "value": self.values,
            "class": self.row,
            "rival": self.rival_row,
            "contribution": self.contributions,
            "rival_contribution": self.rival_contributions,
            "margin": self.margins,
        }
        attributes = [
            {"name": self.names[place], **{name: float(column[place]) for name, column in columns.items()}}
            for place in self.deciding(len(self.names))
        ]
        return {
            "image": self.image,
            "true": self.true,
            "predicted": self.predicted,
            "rival": self.rival,
            "score": self.score,
            "rival_score": self.rival_score,
            "gamma_subtracted": dict(zip(("predicted", "rival"), self.handicap, strict=True)),
            "region": self.box,
            "attributes": attributes,
        }


def explain(
    classifier: Classifier, outputs: Outputs, images: Sequence[str], true: Sequence[str], names: Sequence[str]
) -> Iterator[Explanation]:
    """Explain the decisions on some images.

    Args:
        classifier: head and candidates.
        outputs: of the model, for B images.
        images: their names, [B].
        true: their classes, [B]; "" where unknown. A class that is no candidate cannot be the rival.
        names: of the attributes, [K].
    """
    # In double precision, so that contributions add up to the score beyond what is printed.
    region = None if outputs.region is None else outputs.region.double()
    exact = outputs._replace(main=outputs.main.double(), proto=outputs.proto.double(), region=region)
    rows = classifier.rows.compared(classifier.rows.values.double())
    values = classifier.attributes(exact)
    scores = values @ rows.T / classifier.rows.divisor
    ranked = classifier.chances(outputs).argsort(dim=1, descending=True, stable=True)
    for i, name in enumerate(images):
        first = int(ranked[i, 0])
        second = _rival(classifier, ranked[i], true[i])
        yield Explanation(
            image=name,
            true=true[i],
            predicted=classifier.names[first],
            rival="" if second is None else classifier.names[second],
            score=float(scores[i, first]),
            rival_score=0.0 if second is None else float(scores[i, second]),
            handicap=(float(classifier.handicap[first]), 0.0 if second is None else float(classifier.handicap[second])),
            names=names,
            values=_numpy(values[i]),
            row=_numpy(rows[first]),
            rival_row=np.zeros(len(names)) if second is None else _numpy(rows[second]),
            divisor=classifier.rows.divisor,
            maps=outputs.maps[i].float().cpu().numpy(),
            box=_box(outputs, i),
        )


def _rival(classifier: Classifier, ranked: Tensor, true: str) -> int | None:
    order = ranked.tolist()
    if true in classifier.names and classifier.names[order[0]] != true:
        return classifier.names.index(true)
    return order[1] if len(order) > 1 else None


def _box(outputs: Outputs, i: int) -> Box | None:
    if outputs.boxes is None:
        return None
    top, left, bottom, right = outputs.boxes[i].tolist()
    return left, top, right, bottom


def _numpy(values: torch.Tensor) -> Floats:
    array: Floats = values.cpu().numpy().astype(np.float64)
    return array
