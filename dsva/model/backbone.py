"""The backbone: transformers' CLIP vision model, with random weights, from a folder, or from the hub."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from dsva.config import ModelConfig
from dsva.own_process import imported_for_good
from shards.errors import UserError

with imported_for_good():
    from transformers import CLIPVisionConfig, CLIPVisionModel


def build_backbone(config: ModelConfig, image_size: int, sizes: CLIPVisionConfig | None = None) -> CLIPVisionModel:
    """Build the CLIP vision model that a configuration names, in float32.

    Its last normalisation, which acts on the CLS token only, is taken out: DSVA reads the tokens before it.

    Args:
        config: `backbone` and, if that is `random`, the sizes.
        image_size: height and width of the images, pixels.
        sizes: of a backbone whose weights are yet to be loaded, instead of the one that `config` names.

    Raises:
        UserError: impossible sizes, a model that cannot be had as safetensors, or one for images of another size.
    """
    if sizes:
        model = CLIPVisionModel(sizes)
    else:
        model = _random(config, image_size) if config.backbone == "random" else _pretrained(config.backbone, image_size)
    model.post_layernorm = nn.Identity()
    if config.gradient_checkpointing:
        # The reentrant kind fails under DDP when a forward calls the backbone twice.
        model.activation_checkpointing_enable({"use_reentrant": False})
    if config.compile:
        model.compile()
    return model


def _random(config: ModelConfig, image_size: int) -> CLIPVisionModel:
    if image_size % config.patch:
        raise UserError(f"data.image_size={image_size} is not a multiple of model.patch={config.patch}: change one of them")
    if config.width % math.lcm(4, config.heads):
        raise UserError(f"model.width={config.width} is not a multiple of 4 and of model.heads={config.heads}: change one of them")
    sizes = CLIPVisionConfig(
        hidden_size=config.width,
        intermediate_size=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        image_size=image_size,
        patch_size=config.patch,
    )
    model = CLIPVisionModel(sizes)
    _initialise(model)
    return model


@torch.no_grad()
def _initialise(model: CLIPVisionModel) -> None:
    """Set weights for training from scratch, as in Beyer et al. 2022, "Better plain ViT baselines".

    Xavier-uniform matrices, LeCun-normal patches and sine-cosine positions learn a small set faster than CLIP's own.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    embeddings = model.embeddings
    patches = embeddings.patch_embedding.weight
    nn.init.normal_(patches, std=patches[0].numel() ** -0.5)
    nn.init.normal_(embeddings.class_embedding, std=0.02)
    side = round((embeddings.num_positions - 1) ** 0.5)
    embeddings.position_embedding.weight[0] = 0.0
    embeddings.position_embedding.weight[1:] = sine_cosine(side, embeddings.embed_dim)


def sine_cosine(side: int, width: int) -> Tensor:
    """Encode the places of a square grid by sines and cosines of wavelengths from 2 pi to 10000 * 2 pi cells.

    A quarter of the width each for sine and cosine of row and column; [side * side, width].
    """
    frequencies = 10_000.0 ** (-torch.arange(width // 4) / max(width // 4 - 1, 1))
    angles = torch.arange(side)[:, None] * frequencies
    rows = angles[:, None].expand(side, side, -1)
    columns = angles[None].expand(side, side, -1)
    return torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], 2).flatten(0, 1)


def _pretrained(name: str, image_size: int) -> CLIPVisionModel:
    """Load a folder (never the network) or a hub id; safetensors only, every weight present."""
    folder = Path(name)
    what = f"model.backbone={name}"
    if not folder.is_dir() and (folder.is_absolute() or name.count("/") != 1 or name.startswith(".")):
        raise UserError(f"{what} is neither `random`, a folder that exists, nor a hub id of the form owner/name: correct it")
    try:
        model, report = CLIPVisionModel.from_pretrained(
            name, local_files_only=folder.is_dir(), use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # transformers raises whatever a damaged file makes it trip over
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{what} cannot be loaded as a CLIP vision model with safetensors weights ({reason}): "
            "give a folder with config.json and model.safetensors"
        ) from None
    if report["missing_keys"]:
        raise UserError(f"{what} lacks the weight {min(report['missing_keys'])}: give the folder of a whole CLIP vision model")
    if model.config.image_size != image_size:
        size = model.config.image_size
        raise UserError(f"{what} takes images of {size} x {size} pixels, data.image_size is {image_size}: set it to {size}")
    return model
