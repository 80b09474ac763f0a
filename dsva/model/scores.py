"""How attributes become class scores: the one place that knows."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dsva.config import ScoresConfig

CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class ClassRows:
    """The candidate classes, as rows of attributes.

    Attributes:
        values: what the heads are to predict for an image of each class, [C, K] float32.
        config: how an image's attributes are compared with them.
    """

    values: Tensor
    config: ScoresConfig

    def scores(self, attributes: Tensor) -> Tensor:
        """Compare attributes [B, K] with each class: dot products, or cosines over the temperature; [B, C]."""
        return self.compared(attributes) @ self.compared(self.values).T / self.divisor

    def compared(self, attributes: Tensor) -> Tensor:
        """Return attributes [N, K] as the dot product meets them: of length 1 for cosines, as they are for dot products."""
        return attributes if self.config.kind == "dot" else F.normalize(attributes, dim=1)

    @property
    def divisor(self) -> float:
        """What the dot product is divided by: contributions of attributes to a score are products over this."""
        return 1.0 if self.config.kind == "dot" else self.config.temperature

    def to(self, device: torch.device) -> "ClassRows":
        """Return the rows on a device."""
        return replace(self, values=self.values.to(device))

    def part(self, classes: slice) -> "ClassRows":
        """Return some of the classes, as the only candidates."""
        return replace(self, values=self.values[classes])


def class_rows(strengths: Tensor, n_seen: int, config: ScoresConfig) -> ClassRows:
    """Prepare the rows of all classes, of which the first `n_seen` are the seen ones.

    Dot scores use the strengths as they are. Cosine scores use them standardised, each attribute by its mean
    and deviation over the SEEN classes: nothing of the unseen classes enters what the model is trained on. A
    small deviation is raised to `min_deviation`, or its noise would rule the unseen rows; an attribute that is
    the same in all seen classes cannot be learned and counts for nothing.

    Args:
        strengths: how strongly each attribute is visible in each class, [C, K].
        n_seen: number of seen classes.
        config: kind of scores and temperature.
    """
    strengths = strengths.float()
    if config.kind == "dot":
        return ClassRows(strengths, config)
    seen = strengths[:n_seen]
    mean, deviation = seen.mean(0), seen.std(0, correction=0)
    standardised = (strengths - mean) / deviation.clamp(min=config.min_deviation)
    return ClassRows(torch.where(deviation > CONSTANT, standardised, 0.0), config)
