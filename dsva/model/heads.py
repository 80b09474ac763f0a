"""The two heads that read attributes from tokens; in float32 whatever the backbone's precision, since they are small."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-8


class MainHead(nn.Module):
    """Attributes as a linear function of the normalised pooled tokens."""

    def __init__(self, width: int, attributes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        # Not a module of its own: ZeRO-3 gathers a module's weights for its own forward only, and the norm needs them too.
        self.weight = nn.Parameter(torch.empty(attributes, width))
        self.bias = nn.Parameter(torch.zeros(attributes))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, pooled: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attributes [B, K] of pooled tokens [B, D], and the weights' group norm (a number)."""
        weight = self.weight.float()
        normed = self.norm(pooled.to(self.norm.weight.dtype)).float()
        return F.linear(normed, weight, self.bias.float()), group_norm(weight, groups)


class PrototypeHead(nn.Module):
    """Attributes as the best match of a learned prototype among the tokens."""

    def __init__(self, width: int, attributes: int, bias: bool) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.empty(attributes, width))
        self.bias = nn.Parameter(torch.zeros(attributes)) if bias else None
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, tokens: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Match tokens [B, 1 + h * h, D], the first of which is CLS.

        Returns:
            Attributes [B, K], attention maps [B, K, h, h], and the prototypes' group norm (a number).
        """
        prototypes = self.prototypes.float()
        matches = F.linear(tokens.float(), prototypes).transpose(1, 2)
        side = round((tokens.shape[1] - 1) ** 0.5)
        attributes = matches.amax(2)
        if self.bias is not None:
            attributes = attributes + self.bias.float()
        return attributes, matches[..., 1:].reshape(*attributes.shape, side, side), group_norm(prototypes, groups)


def group_norm(weight: Tensor, groups: Tensor) -> Tensor:
    """Sum over groups the Frobenius norm of their attributes' weights: sqrt(sum of squares + D * 1e-8), as published.

    Args:
        weight: [K, D].
        groups: which attributes belong to which group, [G, K] bool.
    """
    squares = groups.float() @ weight.square().sum(1)
    return (squares + weight.shape[1] * EPSILON).sqrt().sum()
