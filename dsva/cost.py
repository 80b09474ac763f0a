"""What a run costs by arithmetic alone: weights, floating-point operations, memory of a process, a device's peak.

Nothing here needs weights or a device, so that it serves before a job is queued as well as in a report.
"""

import re
from dataclasses import dataclass
from typing import Self

from transformers import CLIPVisionConfig

from dsva.config import Config, ModelConfig
from shards.errors import UserError

# patch side, width, layers, width of the feed-forward layers: of hub models, which a login node may not reach
HUB = {
    "openai/clip-vit-base-patch32": (32, 768, 12, 3072),
    "openai/clip-vit-base-patch16": (16, 768, 12, 3072),
    "openai/clip-vit-large-patch14": (14, 1024, 24, 4096),
}
# Dense bf16 with fp32 accumulation, FLOP/s, from NVIDIA's data sheets and whitepapers (Ada: 330 counts fp16 accumulation).
PEAKS = {
    r"RTX 4090$": 165e12,
    r"A100": 312e12,
    r"H100 PCIe": 756e12,
    r"H100 NVL": 835e12,
    r"H[12]00": 989e12,
}
# float32 without tensor cores, FLOP/s, from the same sheets: what torch uses unless it is told otherwise.
FLOAT_PEAKS = {r"RTX 4090$": 82.6e12, r"A100": 19.5e12, r"H100 PCIe": 51e12, r"H100 NVL": 60e12, r"H[12]00": 67e12}
FLOAT, HALF = 4, 2  # bytes
STAGES = {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp2": 3}  # how much an engine cuts over the processes
# A token's activations in a layer of this width, bytes, kept for the backward pass: with bf16 the float32 residual stream and
# bf16 matrices, without it all in float32; no attention matrix. A checkpointed layer keeps its input.
ACTIVATIONS, ACTIVATIONS_FLOAT, CHECKPOINTED = 64, 80, 4


@dataclass(frozen=True)
class Shape:
    """Sizes of a DSVA model.

    Attributes:
        image_size: height and width of the input, pixels.
        patch: height and width of a patch, pixels.
        width: of a token.
        layers: of the encoder.
        mlp: width of the feed-forward layers.
        attributes: number of attributes, K.
        bias: whether the prototype head has an offset for each attribute.
    """

    image_size: int
    patch: int
    width: int
    layers: int
    mlp: int
    attributes: int
    bias: bool = False

    @classmethod
    def of(cls, config: Config, attributes: int) -> Self:
        """Return the sizes of the model that a configuration names.

        Args:
            config: the whole configuration.
            attributes: number of attributes of its table.

        Raises:
            UserError: the sizes of its backbone cannot be had.
        """
        return cls(config.data.image_size, *_backbone(config.model), attributes, config.model.prototype_bias)

    @property
    def tokens(self) -> int:
        """Tokens of an image: its patches and CLS."""
        return 1 + (self.image_size // self.patch) ** 2

    @property
    def parameters(self) -> int:
        """Weights of the model: CLIP's vision transformer without its last normalisation, and the two heads."""
        d, m, k = self.width, self.mlp, self.attributes
        layer = 4 * (d * d + d) + (2 * d * m + m + d) + 4 * d
        embeddings = 3 * self.patch**2 * d + d + self.tokens * d + 2 * d
        return embeddings + self.layers * layer + (2 * d + k * d + k) + k * (d + self.bias)

    @property
    def _patches_flops(self) -> float:
        return 2.0 * (self.tokens - 1) * 3 * self.patch**2 * self.width

    @property
    def _layers_flops(self) -> float:
        t, d = self.tokens, self.width
        return self.layers * (2.0 * 4 * t * d * d + 2.0 * 2 * t * t * d + 2.0 * 2 * t * d * self.mlp)

    def forward_flops(self, regions: bool) -> float:
        """Return the operations of a forward pass of one image; `regions` adds the pass of its region.

        Counted are matrix products, a multiply-add as two: of T tokens of width D the patches, 2 (T - 1) 3 P^2 D; in each layer
        queries, keys, values and output, 2 * 4 T D^2, scores and their sums, 2 * 2 T^2 D, feed-forward, 2 * 2 T D M (Kaplan et al.
        2020, "Scaling laws for neural language models", section 2.1, with the attention left whole); the main head, 2 D K for an
        image and again for a region; the prototypes, 2 T D K. Everything else (norms, softmax, class scores, losses, scaling of
        pixels, the update) is left out.
        """
        d, k = self.width, self.attributes
        passes = 2 if regions else 1
        return passes * (self._patches_flops + self._layers_flops + 2.0 * d * k) + 2.0 * self.tokens * d * k

    def step_flops(self, regions: bool, heads_only: bool) -> float:
        """Return the operations of a training step for one image, forward and backward.

        A backward pass has two products for each of the forward pass, one for the weights' gradient and one for the input's
        (Chowdhery et al. 2022, "PaLM", appendix B); pixels need no gradient, and in heads-only steps, which have no regions, the
        tokens do not either. What gradient checkpointing computes again is not counted: it is no progress.
        """
        d, k = self.width, self.attributes
        if heads_only:
            return self.forward_flops(regions=False) + 2 * 2.0 * d * k + 2.0 * self.tokens * d * k
        passes = 2 if regions else 1
        return 3 * self.forward_flops(regions) - passes * self._patches_flops


@dataclass(frozen=True)
class Memory:
    """Memory of one process, bytes.

    Attributes:
        state: weights, gradients, the optimizer's moments, copies of them.
        activations: what the forward pass of one part of a batch keeps for the backward pass.
    """

    state: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.state + self.activations


def flops_per_image(config: Config, shape: Shape) -> float:
    """Return the operations of training on one image, the mean over a run's heads-only and fine-tuning steps."""
    heads_only = min(config.train.heads_only_steps, config.train.steps) / config.train.steps
    regions = config.model.regions
    return heads_only * shape.step_flops(regions, heads_only=True) + (1 - heads_only) * shape.step_flops(regions, heads_only=False)


def memory_bytes(config: Config, shape: Shape, world_size: int) -> Memory:
    """Estimate the memory of one of `world_size` processes; arithmetic, without the allocator's losses and the libraries' own.

    For each weight 4 bytes each for itself, its gradient, two moments, the copy that is exchanged (DDP's buckets, DeepSpeed's flat
    parts), and the running mean, and 2 for autocast's copy. ZeRO-1 cuts the moments over the processes, ZeRO-2 the gradient too,
    ZeRO-3 and FSDP2 weights and mean too, and keep no autocast copy. Activations: 64 bytes for each token, width and layer, 80
    without bf16, 4 with gradient checkpointing and one layer whole.
    """
    train = config.train
    stage = STAGES[train.engine]
    cut = [1 / world_size if stage >= least else 1.0 for least in (3, 2, 1)]
    weight, gradient, moments = FLOAT * cut[0], FLOAT * cut[1], 2 * FLOAT * cut[2]
    exchange = FLOAT if world_size > 1 else 0
    mean = FLOAT * cut[0] if train.ema else 0
    autocast = HALF if train.precision == "bf16" and stage < 3 else 0
    images = -(-config.data.batch_size // (world_size * train.accumulation))
    state = shape.parameters * (weight + gradient + moments + exchange + mean + autocast)
    return Memory(state, images * _activations(config, shape))


def peak_flops(device: str, precision: str = "bf16") -> float | None:
    """Return a device's peak, dense FLOP/s, by the name that torch gives it; None for a device that is not in the table."""
    peaks = PEAKS if precision == "bf16" else FLOAT_PEAKS
    return next((peak for pattern, peak in peaks.items() if re.search(pattern, device)), None)


def _activations(config: Config, shape: Shape) -> float:
    """Return the bytes that the forward pass of one image keeps."""
    a_layer = shape.tokens * shape.width * (ACTIVATIONS if config.train.precision == "bf16" else ACTIVATIONS_FLOAT)
    if config.train.heads_only_steps >= config.train.steps:
        return a_layer
    passes = 2 if config.model.regions else 1
    if config.model.gradient_checkpointing:
        return passes * shape.tokens * shape.width * CHECKPOINTED * shape.layers + a_layer
    return passes * a_layer * shape.layers


def _backbone(config: ModelConfig) -> tuple[int, int, int, int]:
    """Return patch side, width, layers and feed-forward width."""
    if config.backbone == "random":
        return config.patch, config.width, config.layers, config.mlp
    if config.backbone in HUB:
        return HUB[config.backbone]
    try:
        found = CLIPVisionConfig.from_pretrained(config.backbone)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the sizes of model.backbone={config.backbone} cannot be read ({reason}): give a local folder") from None
    return found.patch_size, found.hidden_size, found.num_hidden_layers, found.intermediate_size
