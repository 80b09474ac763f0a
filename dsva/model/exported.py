"""A trained model by itself: a folder with model.safetensors and config.json, which needs neither run nor shards nor pickle."""

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import CLIPVisionConfig

from dsva.config import DataConfig, ModelConfig, ScoresConfig
from dsva.cost import FLOAT, Shape
from dsva.files import write_atomically
from dsva.json_files import read_model
from dsva.model.scores import ClassRows, class_rows
from dsva.pixels import eval_pixels
from shards.errors import UserError
from shards.files import file_sha256, has_control

MAX_MEMBERS = 10**8  # cells of the table of groups x attributes
WEIGHTS, CONFIG = "model.safetensors", "config.json"
MAX_CONFIG = 64 << 20  # bytes: the rows of thousands of classes
MAX_HEADER = 1 << 20  # of the weights' file, bytes


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Clip(_Part):
    """The sizes of the backbone, in transformers' words."""

    hidden_size: int = Field(ge=4, le=1 << 14)
    intermediate_size: int = Field(ge=4, le=1 << 16)
    num_hidden_layers: int = Field(ge=1, le=256)
    num_attention_heads: int = Field(ge=1, le=256)
    num_channels: Literal[3]
    image_size: int = Field(ge=16, le=1024)
    patch_size: int = Field(ge=2, le=1024)
    hidden_act: Literal["quick_gelu", "gelu"]
    layer_norm_eps: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _divide(self) -> Self:
        if self.hidden_size % self.num_attention_heads or self.image_size % self.patch_size:
            raise ValueError("attention heads do not divide the width, or patches the image")
        return self

    @classmethod
    def of(cls, config: CLIPVisionConfig) -> Self:
        """Return the sizes of a backbone."""
        return cls(**{name: getattr(config, name) for name in cls.model_fields})


class Source(_Part):
    """Where the weights come from: checkpoint, shard set, code."""

    step: int
    checkpoint_sha256: str
    data_digest: str
    code: dict[str, Any]


class Exported(_Part):
    """What config.json holds: all that it takes to score images, besides the weights.

    `resize` and `image_size` are pixels, `normalize` names the mean and deviation, `groups` are places in
    `attributes`, `strengths` has a row of attributes for each of `classes`, of which the first `n_seen` were seen.
    """

    format: Literal[1] = 1
    weights_sha256: str
    model: ModelConfig
    clip: Clip
    image_size: int
    resize: int
    normalize: Literal["clip", "imagenet"]
    scores: ScoresConfig
    attributes: tuple[str, ...]
    groups: dict[str, tuple[int, ...]]
    classes: tuple[str, ...]
    n_seen: int = Field(ge=1)
    strengths: tuple[tuple[float, ...], ...]
    source: Source

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if sorted(place for places in self.groups.values() for place in places) != list(range(len(self.attributes))):
            raise ValueError("groups do not hold every attribute once")
        if any(map(has_control, (*self.groups, *self.attributes, *self.classes))):
            raise ValueError("a name has a control character")
        check_groups(len(self.groups), len(self.attributes))
        if not all(self.groups.values()):
            raise ValueError("a group is empty")
        if len(self.strengths) != len(self.classes) or any(len(row) != len(self.attributes) for row in self.strengths):
            raise ValueError("strengths are not classes x attributes")
        return self

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the config.json of an exported model.

        Raises:
            UserError: missing, damaged, or not one that `dsva checkpoint export` wrote.
        """
        read, _ = read_model(folder / CONFIG, cls, "export the run again", MAX_CONFIG)
        read._check_claim(folder / WEIGHTS)
        return read

    def _check_claim(self, weights: Path) -> None:
        """Compare the sizes with the file of the weights, before memory is taken for a model of that size."""
        clip = self.clip
        shape = Shape(
            clip.image_size,
            clip.patch_size,
            clip.hidden_size,
            clip.num_hidden_layers,
            clip.intermediate_size,
            len(self.attributes),
            self.model.prototype_bias,
        )
        needed, there = FLOAT * shape.parameters, weights.stat().st_size if weights.is_file() else 0
        if not needed <= there <= needed + MAX_HEADER:
            raise UserError(f"{weights} is missing or not of the {needed:,} bytes that {CONFIG} claims: export the run again")

    def pixels(self, images: Tensor) -> Tensor:
        """Return the model's input, [B, 3, image_size, image_size], of RGB images as uint8 [B, resize, resize, 3]."""
        return eval_pixels(images, DataConfig(image_size=self.image_size, resize=self.resize, normalize=self.normalize))

    def class_rows(self, device: torch.device) -> ClassRows:
        """Return the rows of all classes, as the model was scored with."""
        return class_rows(torch.tensor(self.strengths, device=device), self.n_seen, self.scores)

    def load_into(self, model: nn.Module, folder: Path) -> None:
        """Give the weights in `folder` to a model of these sizes.

        Raises:
            UserError: they are missing, damaged, or of another model.
        """
        file = folder / WEIGHTS
        if not file.is_file() or file_sha256(file) != self.weights_sha256:
            raise UserError(f"{file} is missing or not what {CONFIG} describes: export the run again")
        try:
            model.load_state_dict(load_file(file))
        except (SafetensorError, RuntimeError) as error:
            raise UserError(f"{file} does not fit {CONFIG} ({' '.join(str(error).split())[:200]}): export the run again") from None


def check_groups(groups: int, attributes: int) -> None:
    """Refuse more groups than a table of groups x attributes has memory for.

    Raises:
        UserError: there are too many.
    """
    if groups * attributes > MAX_MEMBERS:
        raise UserError(f"{groups:,} groups of {attributes:,} attributes are too many: put more attributes into a group")


def write_weights(folder: Path, state: dict[str, Tensor]) -> str:
    """Write a model's state into a folder; return the file's sha256."""
    # As bytes: what the package says of a file that it cannot write is not what the system said.
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    write_atomically(folder / WEIGHTS, content)
    return hashlib.sha256(content).hexdigest()


def write_config(folder: Path, exported: Exported) -> None:
    """Write config.json, last, beside the weights."""
    write_atomically(folder / CONFIG, exported.model_dump_json(indent=1) + "\n")
