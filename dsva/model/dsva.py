"""DSVA: a vision transformer and two heads that read attributes from its tokens (Xu et al. 2023)."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig

from dsva.config import ModelConfig
from dsva.model.backbone import build_backbone
from dsva.model.exported import Exported, check_groups
from dsva.model.heads import MainHead, PrototypeHead
from dsva.model.regions import crop_and_resize, region_boxes


class Outputs(NamedTuple):
    """What the model says about B images; float32 in every precision.

    Attributes:
        main: attributes by the main head, [B, K].
        proto: attributes by the prototype head, [B, K].
        maps: attention maps, [B, K, h, h].
        main_norm: group norm of the main head's weights, a number.
        proto_norm: group norm of the prototypes, a number.
        region: attributes of the images' regions by the main head, [B, K]; None if not asked for.
        boxes: regions as top, left, bottom, right (exclusive), [B, 4] int64 pixels; None if not asked for.
    """

    main: Tensor
    proto: Tensor
    maps: Tensor
    main_norm: Tensor
    proto_norm: Tensor
    region: Tensor | None
    boxes: Tensor | None


class DSVA(nn.Module):
    """The network.

    Attributes:
        backbone: transformers' CLIP vision model without its last normalisation, which nothing here uses.
        main: main head.
        proto: prototype head.
    """

    groups: Tensor

    def __init__(
        self, config: ModelConfig, image_size: int, groups: Sequence[Sequence[int]], sizes: CLIPVisionConfig | None = None
    ) -> None:
        """Build the network; random weights depend on torch's seed only.

        Args:
            config: backbone, heads and regions.
            image_size: height and width of the images, pixels.
            groups: places of each group's attributes; every one of the K attributes is in one group, no group is empty.
            sizes: of a backbone whose weights are yet to be loaded, instead of the one that `config` names.

        Raises:
            UserError: the backbone cannot be had, or does not take images of this size; too many groups.
        """
        super().__init__()
        self.backbone = build_backbone(config, image_size, sizes)
        width, attributes = self.backbone.config.hidden_size, sum(map(len, groups))
        self.main = MainHead(width, attributes)
        self.proto = PrototypeHead(width, attributes, config.prototype_bias)
        check_groups(len(groups), attributes)
        members = torch.zeros(len(groups), attributes, dtype=torch.bool)
        for group, places in enumerate(groups):
            members[group, list(places)] = True
        self.register_buffer("groups", members, persistent=False)
        self._threshold = config.region_threshold

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Load the model that `dsva checkpoint export` wrote into a folder, in evaluation mode.

        What else it takes to score images (normalisation, classes) is in `dsva.model.exported.Exported.read(folder)`.

        Raises:
            UserError: missing or damaged files.
        """
        exported = Exported.read(Path(folder))
        sizes = CLIPVisionConfig(**exported.clip.model_dump())
        model = cls(exported.model, exported.image_size, tuple(exported.groups.values()), sizes)
        exported.load_into(model, Path(folder))
        return model.eval()

    def forward(self, images: Tensor, *, regions: bool = False, backbone_grad: bool = True) -> Outputs:
        """Read the attributes of images.

        Args:
            images: normalised, [B, 3, S, S].
            regions: look at each image's region too, by a second pass through the backbone.
            backbone_grad: False saves the backward pass through the backbone.
        """
        tokens = self._tokens(images, backbone_grad)
        with torch.autocast(images.device.type, enabled=False):
            proto, maps, proto_norm = self.proto(tokens, self.groups)
            main, main_norm = self.main(tokens.float().mean(1), self.groups)
            boxes = region_boxes(maps, proto, self.groups, images.shape[-1], self._threshold) if regions else None
            crops = None if boxes is None else crop_and_resize(images, boxes)
        if crops is None:
            return Outputs(main, proto, maps, main_norm, proto_norm, None, None)
        crop_tokens = self._tokens(crops, backbone_grad)
        with torch.autocast(images.device.type, enabled=False):
            region, _ = self.main(crop_tokens.float().amax(1), self.groups)
        return Outputs(main, proto, maps, main_norm, proto_norm, region, boxes)

    def _tokens(self, images: Tensor, grad: bool) -> Tensor:
        with nullcontext() if grad else torch.no_grad():
            tokens: Tensor = self.backbone(pixel_values=images).last_hidden_state
        return tokens
