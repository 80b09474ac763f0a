"""The loss: a sum of named, weighted terms, independent of how a batch is split."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dsva.config import LossConfig
from dsva.model.dsva import Outputs
from dsva.model.scores import ClassRows


def main_scores(outputs: Outputs, rows: ClassRows, region_weight: float) -> Tensor:
    """Return the main head's class scores, [B, C], with the region's scores where there are any."""
    scores = rows.scores(outputs.main)
    return scores if outputs.region is None else scores + region_weight * rows.scores(outputs.region)


@dataclass(frozen=True, eq=False)
class Losses:
    """The loss of a run.

    Attributes:
        rows: the seen classes, on the model's device.
        config: weights of the terms; those of weight 0 are left out.
        region_weight: weight of the region's scores in the main head's.
    """

    rows: ClassRows
    config: LossConfig
    region_weight: float

    def __call__(self, outputs: Outputs, labels: Tensor, *, share: float, fine_tuning: bool) -> dict[str, Tensor]:
        """Compute what a part of a batch contributes to the loss of the whole batch.

        Over all parts (ranks, accumulation steps) the contributions add up to the loss of the batch, and so do
        their gradients: means over images and the group norms are multiplied by `share`, whereas the compactness
        is a sum over images, as published, and adds up by itself.

        Cosine scores pull the heads towards standardised rows, so their squared error is measured against those
        too: against raw strengths, which are all positive, it would pull every image towards the same mean row.

        Args:
            outputs: of the model for this part, B images.
            labels: places of the images' classes in `rows`, [B].
            share: B over the number of images of the whole batch.
            fine_tuning: whether the compactness counts (it does not in the heads-only steps).

        Returns:
            Weighted terms by their name in the configuration, and their sum as `total`.
        """
        wanted = self.rows.values[labels]
        terms = {
            "ce_main": share * self._cross_entropy(main_scores(outputs, self.rows, self.region_weight), labels),
            "ce_proto": share * self._cross_entropy(self.rows.scores(outputs.proto), labels),
            "mse_main": share * F.mse_loss(outputs.main, wanted),
            "mse_proto": share * F.mse_loss(outputs.proto, wanted),
            "group_main": share * outputs.main_norm,
            "group_proto": share * outputs.proto_norm,
        }
        if fine_tuning:
            terms["compactness"] = attention_spread(outputs.maps)
        weights = self.config.model_dump()
        weighted = {name: weights[name] * term for name, term in terms.items() if weights[name]}
        return weighted | {"total": torch.stack(list(weighted.values())).sum()}

    def _cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self.rows.config.double_softmax:
            scores = scores.softmax(1)
        return F.cross_entropy(scores, labels, label_smoothing=self.config.label_smoothing)


def attention_spread(maps: Tensor) -> Tensor:
    """Sum over maps and cells sigmoid(attention) times the squared distance, in cells, to the map's own peak.

    Args:
        maps: [B, K, h, w].
    """
    height, width = maps.shape[2:]
    rows, columns = torch.arange(height, device=maps.device), torch.arange(width, device=maps.device)
    cells = torch.cartesian_prod(rows, columns).float()
    distances = (cells[:, None] - cells).square().sum(2)
    flat = maps.flatten(2)
    return (flat.sigmoid() * distances[flat.argmax(2)]).sum()
