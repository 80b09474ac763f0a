"""Text prompts: CLIP's own zero-shot classes, which need neither training nor attributes (Radford et al. 2021)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, CLIPModel

Floats = NDArray[np.float64]
PROMPTS = "text prompts"
TEMPLATES = ("a photo of a {}", "an aerial photograph of {}")
COMPLETE = ("text_model", "text_projection", "visual_projection")


@dataclass(frozen=True, eq=False)
class TextTower:
    """A whole CLIP: its text tower makes classes of their names, its image tower makes images comparable with them.

    Attributes:
        model: on its device, in evaluation mode.
        tokenizer: of the same folder or hub id.
        device: of the model.
    """

    model: CLIPModel
    tokenizer: Any
    device: torch.device

    @classmethod
    def of(cls, backbone: str, device: torch.device) -> Self | None:
        """Load the CLIP of a local folder (never the network) or hub id; None where it has no text tower or tokenizer."""
        local = Path(backbone).is_dir()
        if local and not (Path(backbone) / "tokenizer_config.json").is_file():
            return None
        try:
            if AutoConfig.from_pretrained(backbone, local_files_only=local).model_type != "clip":
                return None
            tokenizer = AutoTokenizer.from_pretrained(backbone, local_files_only=local)
            model, loaded = CLIPModel.from_pretrained(
                backbone, local_files_only=local, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError):  # a vision model by itself, or one without a tokenizer
            return None
        if any(key.startswith(COMPLETE) for key in loaded["missing_keys"]):
            return None
        return cls(model.to(device).eval(), tokenizer, device)

    @torch.no_grad()
    def classes(self, names: Sequence[str]) -> Floats:
        """Embed class names, the templates averaged; rows of length the model's logit scale, [C, E]."""
        embedded = [self._texts([template.format(words(name)) for name in names]) for template in TEMPLATES]
        mean = F.normalize(torch.stack(embedded).mean(0), dim=1)
        return np.asarray((mean * self.model.logit_scale.exp()).cpu().double().numpy())

    @torch.no_grad()
    def images(self, pixels: Tensor) -> Tensor:
        """Embed images [B, 3, S, S]; rows of length 1, [B, E]."""
        return F.normalize(self.model.get_image_features(pixel_values=pixels).pooler_output, dim=1)

    def _texts(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.device)
        features = self.model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(features.pooler_output, dim=1)


def words(name: str) -> str:
    """Return a class name as words: `DenseResidential` and `dense_residential` are `dense residential`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-\s]+", " ", name).strip().lower()
