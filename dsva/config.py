"""The configuration: one typed tree, read from YAML and dotted overrides, checked before any work starts.

The docstring under each field is its documentation; `dsva config` prints them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dsva.settings import SHOWN, FileBeside, FolderOrHubId, Section, as_yaml, beside, checked, read_values, texts
from shards.errors import UserError

Backbone = Annotated[str, FolderOrHubId(but=("random",))]
Decay = Annotated[float, Field(ge=0, lt=1)]
HeadName = Literal["proto", "main"]


class DataConfig(Section):
    """Images on their way from the shards to the model."""

    shards: Path = Path("SHARDS")
    """Folder of the shard set, as written by `dsva pack`."""
    batch_size: int = Field(default=64, ge=1, le=1 << 20)
    """Images of one optimizer step, over all processes and accumulation steps together."""
    ways: int = Field(default=0, ge=0)
    """Classes of a class-balanced episode; `batch_size` must be a multiple. 0 shuffles whole epochs instead."""
    image_size: int = Field(default=224, ge=16, le=1024)
    """Height and width of the model's input, pixels."""
    resize: int = Field(default=256, ge=16, le=2048)
    """Images are scaled to this shorter side before the crop to `image_size`, pixels."""
    normalize: Literal["clip", "imagenet"] = "clip"
    """Whose mean and standard deviation: CLIP's own, or ImageNet's (as the published code feeds CLIP)."""
    flip: bool = True
    """Mirror training images left to right with probability 1/2."""
    rotate: bool = False
    """Turn training images by a random multiple of 90 degrees; overhead images have no up."""
    min_scale: float = Field(default=1.0, gt=0.1, le=1)
    """Smallest side of the random crop's window as a share of the largest; 1 crops at one scale only."""
    block_shards: int = Field(default=0, ge=0)
    """Shuffle inside blocks of this many shards, for archives larger than the page cache; 0 shuffles all."""
    workers: int = Field(default=2, ge=1, le=64)
    """Threads of each process that read and decode."""
    prefetch: int = Field(default=3, ge=1, le=64)
    """Batches read ahead."""

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.resize < self.image_size:
            raise ValueError(f"resize={self.resize} is smaller than image_size={self.image_size}: give resize at least image_size")
        if self.ways and self.batch_size % self.ways:
            raise ValueError(f"batch_size={self.batch_size} is not a multiple of ways={self.ways}: change one of them")
        return self


class ClassesConfig(Section):
    """Which classes are seen, which are unseen, and how classes are described."""

    attributes: FileBeside = Path("class_attributes.json")
    """Table of classes x attributes (JSON with classes, groups, matrix)."""
    splits: FileBeside | None = None
    """JSON file of named class splits, each with a list `seen` and a list `unseen`; none takes the shard set's own."""
    split: str = "own"
    """Name of the class split in that file; or `random:SEED:UNSEEN`, which draws that many unseen classes of the shard set."""
    seen_test_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of each seen class's images held out of training to measure S; 0 measures ZSL only."""
    exclude_near: int | None = Field(default=None, ge=0, le=32)
    """Training images whose difference hash is within this many of 64 bits of a test image's are left out; none only reports
    those within 10 bits, but for scenes so plain that their hashes say little."""


class ValidationConfig(Section):
    """Choosing without the test classes: hold a third of the seen classes out and follow those."""

    partition: Literal[0, 1, 2] | None = None
    """Which third of the seen classes plays the unseen ones; none trains on all seen classes."""
    seen_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the remaining seen classes' images that a validation run also holds out, to choose gamma."""
    every: int = Field(default=0, ge=0)
    """Steps between validations of a run with a partition; 0 validates at its end only."""


class ModelConfig(Section):
    """The network."""

    backbone: Backbone = "random"
    """`random` (from the sizes below), a local folder, or a hub id such as `openai/clip-vit-base-patch32`."""
    width: int = Field(default=128, ge=8, le=1 << 14)
    """Random backbone: token width."""
    layers: int = Field(default=4, ge=1, le=256)
    """Random backbone: encoder layers."""
    heads: int = Field(default=4, ge=1)
    """Random backbone: attention heads."""
    mlp: int = Field(default=512, ge=8, le=1 << 16)
    """Random backbone: width of the feed-forward layers."""
    patch: int = Field(default=12, ge=2)
    """Random backbone: patch side, pixels."""
    prototype_bias: bool = False
    """Give the prototype head a learned offset per attribute (the published one has none)."""
    regions: bool = False
    """Crop the attention-chosen region of each image and pass it through the backbone again."""
    region_threshold: float = Field(default=1.0, gt=0)
    """A pixel belongs to the region where the attention map exceeds this times the map's mean."""
    region_weight: float = 1.0
    """Weight of the region's scores in the main head's scores."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compile the backbone with torch.compile."""


class ScoresConfig(Section):
    """How attributes become class scores."""

    kind: Literal["cosine", "dot"] = "cosine"
    """`cosine`: against standardised, L2-normalised class rows; `dot`: against raw rows, as published."""
    temperature: float = Field(default=0.0625, gt=0)
    """Cosine scores are divided by this."""
    min_deviation: float = Field(default=0.2, gt=0)
    """Cosine rows are standardised by at least this deviation, so that what hardly differs among seen classes counts little."""
    double_softmax: bool = False
    """Apply cross entropy to softmax probabilities, as the published code does."""


class LossConfig(Section):
    """Weights of the loss terms; 0 leaves a term out."""

    ce_main: float = Field(default=1.0, ge=0)
    """Cross entropy of the main head."""
    ce_proto: float = Field(default=1.0, ge=0)
    """Cross entropy of the prototype head."""
    mse_main: float = Field(default=0.01, ge=0)
    """Squared error of the main head's attributes."""
    mse_proto: float = Field(default=0.08, ge=0)
    """Squared error of the prototype head's attributes."""
    compactness: float = Field(default=1e-9, ge=0)
    """Attention far from a map's peak; only after the heads-only steps."""
    group_main: float = Field(default=0.0, ge=0)
    """Norm of each attribute group's weights in the main head."""
    group_proto: float = Field(default=0.0, ge=0)
    """Norm of each attribute group's prototypes."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all seen classes."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(value for name, value in self if name != "label_smoothing"):
            raise ValueError("all terms have weight 0: give one of them a weight")
        return self


class OptimizerConfig(Section):
    """AdamW and the learning rate, which is a function of the step."""

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of the heads."""
    backbone_lr: float = Field(default=1e-3, ge=0)
    """Peak learning rate of the backbone."""
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Adam's decay rates."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decoupled weight decay of matrices; vectors (biases, norms) and prototypes have none."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest norm of the whole gradient; 0 does not clip."""
    schedule: Literal["cosine", "constant", "published"] = "cosine"
    """`published`: the peak in the heads-only steps, then 1/100 of it times 0.9^(epoch // 10)."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0 to its peak."""
    epoch_steps: int = Field(default=300, ge=1)
    """Steps that the published recipe calls an epoch."""
    reset_moments: bool = False
    """Forget Adam's moments at the start of every such epoch, as the published code does."""
    train_head_norm: bool = True
    """Train the main head's LayerNorm in the heads-only steps too (the published code does not)."""


class TrainConfig(Section):
    """How long and how."""

    steps: int = Field(default=1000, ge=1, le=10**9)
    """Optimizer steps of the whole run."""
    heads_only_steps: int = Field(default=0, ge=0)
    """First steps, in which the backbone is frozen and gets no backward pass."""
    accumulation: int = Field(default=1, ge=1, le=1 << 20)
    """Backward passes per optimizer step; each takes its share of `batch_size`."""
    engine: Literal["ddp", "zero1", "zero2", "zero3", "fsdp2"] = "ddp"
    """How several processes share the work: each holds all (`ddp`), or DeepSpeed cuts the optimizer's state (`zero1`), the
    gradients too (`zero2`), the weights too (`zero3`) over them; torch's own fully_shard (`fsdp2`) cuts what `zero3` does.
    Checkpoints fit every engine and number of processes."""
    deepspeed: FileBeside | None = None
    """JSON file with more of DeepSpeed's settings, such as offloading; it cannot contradict this configuration."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the forward and backward passes."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a running mean of the weights, which is what is evaluated; 0 keeps none."""


class FaultsConfig(Section):
    """Bad steps and hangs."""

    skip_budget: int = Field(default=5, ge=0)
    """Steps with a loss or gradient that is not finite are left out; with more than this many of them within `skip_window`
    the run goes back to the last checkpoint before them, and passes over the batches since."""
    skip_window: int = Field(default=200, ge=1)
    """Steps within which bad ones are counted."""
    rollbacks: int = Field(default=2, ge=0)
    """How often a run goes back; after that it ends."""
    hang_seconds: float = Field(default=900, ge=0)
    """A process that gets no further for so long writes its stacks into the run directory and ends the run, and so do the others.
    Give more than it takes to compile, or to wait for the slowest rank's save; 0 never does."""


class EvalConfig(Section):
    """Scoring."""

    batch_size: int = Field(default=128, ge=1, le=1 << 20)
    """Images of one forward pass on a process."""
    gamma: float | None = None
    """GZSL: subtracted from the seen classes' scores; none takes the validation run's, or else 0."""
    validation_run: Path | None = None
    """Finished run with a validation partition whose best gamma is used, or a folder of `dsva choose`: the mean of those chosen."""
    protocol: Literal["honest", "paper", "exemplars"] = "honest"
    """`honest`: nothing is chosen on the test classes, and leaks are refused. `paper`: as published, the best of the steps at which
    the test classes were scored (`validation.every`) and the best gamma are reported too, beside what that gains; the .mat
    files' training sets are taken as they are, test images of seen classes included. `exemplars`:
    rows of unseen classes may come from some of their images, and every table says that this is not zero-shot."""


class RunConfig(Section):
    """The run directory and what is written to it."""

    dir: Path = Path("RUN")
    """Folder of the run; the same command again continues what lies there."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of initial weights, sample order and augmentation."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of metrics."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Steps between checkpoints."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints that are kept."""
    keep_every: int = Field(default=0, ge=0)
    """Checkpoints after a multiple of this many steps are kept for good; 0 keeps none for good."""
    async_save: bool = False
    """Write checkpoints in the background; costs a copy of the state in main memory."""


class Config(Section):
    """An experiment."""

    all_keys: ClassVar[str] = "`dsva config` lists all keys"

    data: DataConfig = DataConfig()
    classes: ClassesConfig = ClassesConfig()
    validation: ValidationConfig = ValidationConfig()
    model: ModelConfig = ModelConfig()
    scores: ScoresConfig = ScoresConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    faults: FaultsConfig = FaultsConfig()
    eval: EvalConfig = EvalConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _choice(self) -> Self:
        every, paper = self.validation.every, self.eval.protocol == "paper"
        if self.validation.partition is not None and paper:
            raise ValueError(
                "eval.protocol=paper chooses on the test classes, so validation.partition has no part in it: leave one out"
            )
        if self.validation.partition is None and bool(every) != paper:
            raise ValueError(
                f"validation.every={every} without validation.partition would follow the test classes: give a partition"
                if every
                else "eval.protocol=paper chooses among the steps at which the test classes are scored: give validation.every"
            )
        return self

    def quirks(self) -> tuple[str, ...]:
        """Return what the configuration takes over from the published code that one would not expect."""
        found = {
            "cross entropy on softmax probabilities": self.scores.double_softmax,
            "a new Adam every epoch": self.optimizer.reset_moments,
            "the head's norm untrained at first": not self.optimizer.train_head_norm,
            "ImageNet statistics": self.data.normalize == "imagenet",
        }
        return tuple(quirk for quirk, present in found.items() if present)


def load(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `section.key=value` overrides, and check every value.

    Paths that are relative to the file are taken so, see `dsva.settings`.

    Raises:
        UserError: unreadable file, unknown key (with the nearest known one), or a value out of range.
    """
    path = Path(path)
    values = read_values(path, overrides)
    if text := next((text for text in texts(values) if "${" in text), None):
        raise UserError(f"{path}: {text[:SHOWN]!r} asks for another value, which is not put in its place: write the value itself")
    return beside(check(values, str(path)), path.parent)


def check(values: Any, source: str) -> Config:
    """Check a tree of plain values; `source` names it in the error sentence."""
    return checked(Config, values, source)


def dump(config: Config) -> str:
    """Return the whole configuration as YAML."""
    return as_yaml(config)
