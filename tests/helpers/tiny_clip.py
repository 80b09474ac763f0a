"""A whole CLIP of random weights with a tokenizer, small enough to make in a test, saved as any CLIP folder is."""

import string
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer


def tiny_clip(folder: Path, seed: int = 0) -> Path:
    """Write config.json, model.safetensors and a tokenizer that reads letter by letter; images of 32 pixels."""
    letters = [*string.ascii_lowercase, *string.digits]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={token: place for place, token in enumerate(tokens)}, merges=[])
    tokenizer.save_pretrained(folder)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        "vocab_size": len(tokens),
        "max_position_embeddings": 77,
        "bos_token_id": len(tokens) - 2,
        "eos_token_id": len(tokens) - 1,
    }
    torch.manual_seed(seed)
    config = CLIPConfig(text_config=tower | text, vision_config=tower | {"image_size": 32, "patch_size": 8}, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    return folder
