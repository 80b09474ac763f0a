"""Text prompts: CLIP's own zero-shot classes, which need neither training nor attributes (Radford et al. 2021)."""

import hashlib
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

from shards.errors import UserError

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
        """Load a backbone's whole CLIP; None where it has no text tower or tokenizer."""
        try:
            return cls.load(backbone, device)
        except UserError:
            return None

    @classmethod
    def load(cls, clip: str, device: torch.device) -> Self:
        """Load the CLIP of a local folder (never the network) or hub id.

        Raises:
            UserError: it has no text tower, no tokenizer, or no safetensors weights.
        """
        local = Path(clip).is_dir()
        try:
            if not local and (clip.startswith((".", "/")) or clip.count("/") != 1):
                raise FileNotFoundError("it is neither a folder that exists nor a hub id of the form owner/name")
            if local and not (Path(clip) / "tokenizer_config.json").is_file():
                raise FileNotFoundError("there is no tokenizer_config.json")
            if (kind := AutoConfig.from_pretrained(clip, local_files_only=local).model_type) != "clip":
                raise ValueError(f"its config.json says {kind!r} and not 'clip'")
            tokenizer = AutoTokenizer.from_pretrained(clip, local_files_only=local)
            model, loaded = CLIPModel.from_pretrained(
                clip, local_files_only=local, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:  # transformers raises whatever a damaged file makes it trip over
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{clip} is no CLIP with safetensors weights and a tokenizer ({reason}): give another model") from None
        if missing := [key for key in loaded["missing_keys"] if key.startswith(COMPLETE)]:
            raise UserError(f"{clip} lacks the weight {min(missing)}: give a whole CLIP, with text and image tower")
        return cls(model.to(device).eval(), tokenizer, device)

    @property
    def image_size(self) -> int:
        """Height and width of the images that the model takes, pixels."""
        return int(self.model.config.vision_config.image_size)

    def sha256(self) -> str:
        """Return the hash of all weights, by name, in float32: the same from whichever file they come."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def embed(self, phrases: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Embed what the templates make of each phrase, averaged over templates; rows of length 1, [n, E]."""
        embedded = [self._texts([template.replace("{}", phrase) for phrase in phrases]) for template in templates]
        return F.normalize(torch.stack(embedded).mean(0), dim=1)

    @torch.no_grad()
    def classes(self, names: Sequence[str]) -> Floats:
        """Embed class names, the templates averaged; rows of length the model's logit scale, [C, E]."""
        embedded = self.embed([words(name) for name in names], TEMPLATES)
        return np.asarray((embedded * self.model.logit_scale.exp()).cpu().double().numpy())

    @torch.no_grad()
    def images(self, pixels: Tensor) -> Tensor:
        """Embed images [B, 3, S, S]; rows of length 1, [B, E]."""
        return F.normalize(self.model.get_image_features(pixel_values=pixels).pooler_output, dim=1)

    def _texts(self, texts: Sequence[str]) -> Tensor:
        # The tokenizer's own limit is not in every folder.
        most = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt").to(self.device)
        features = self.model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(features.pooler_output, dim=1)


def words(name: str) -> str:
    """Return a class name as words: `DenseResidential` and `dense_residential` are `dense residential`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-\s]+", " ", name).strip().lower()
