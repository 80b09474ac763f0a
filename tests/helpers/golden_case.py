"""The recorded cases of the published code: their inputs, made as the README beside them says, on this project's model."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsva.config import LossConfig, ModelConfig, ScoresConfig
from dsva.model.dsva import DSVA
from dsva.model.losses import Losses
from dsva.model.scores import class_rows

HEADS = {
    "main.norm.weight": "attribute_head.norm.weight",
    "main.norm.bias": "attribute_head.norm.bias",
    "main.weight": "attribute_head.linear.weight",
    "main.bias": "attribute_head.linear.bias",
    "proto.prototypes": "prototypes",
}
TERMS = {
    "ce_main": "l_xe_final",
    "ce_proto": "l_xe_layer",
    "mse_main": "l_attri_final",
    "mse_proto": "l_attri_layer",
    "group_main": "l_regular_final",
    "group_proto": "l_regular_layer",
    "compactness": "l_cpt",
    "total": "total",
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Case:
    """A recorded case: model, inputs, and what the published code made of them."""

    model: DSVA
    losses: Losses
    images: Tensor
    labels: Tensor
    regions: bool
    results: dict[str, NDArray[Any]]
    gradient_norms: dict[str, float]


def load_case(folder: Path, name: str, device: str = "cpu") -> Case:
    config = json.loads((folder / f"case_{name}.json").read_text())
    sizes = ModelConfig(
        width=768, layers=config["layers"], heads=12, mlp=config["intermediate"], patch=32, region_threshold=config["pro_thr"]
    )
    model = DSVA(sizes, 224, tuple(config["groups"].values()))
    fill(model)
    strengths = np.random.RandomState(config["attribute_seed"]).rand(config["attributes"], config["classes"]).astype(np.float32)
    weights = LossConfig(
        ce_main=config["xe"],
        mse_main=config["attri"],
        group_main=config["regular"],
        ce_proto=config["l_xe"],
        mse_proto=config["l_attri"],
        group_proto=config["l_regular"],
        compactness=config["cpt"],
    )
    scores = ScoresConfig(kind="dot", double_softmax=True)
    rows = class_rows(torch.from_numpy(strengths.T.copy()), config["classes"], scores).to(torch.device(device))
    labels = np.random.RandomState(config["label_seed"]).randint(0, config["classes"], config["batch"])
    with np.load(folder / f"case_{name}.npz") as arrays:
        results = dict(arrays)
    return Case(
        model=model.to(device),
        losses=Losses(rows, weights, config["pro_weight"]),
        images=images(config["image_seed"], config["batch"]).to(device),
        labels=torch.from_numpy(labels).to(device),
        regions=config["pro_start_epoch"] < 0,
        results=results,
        gradient_norms=json.loads((folder / f"case_{name}.gradnorms.json").read_text()),
    )


def recorded_name(name: str) -> str:
    """Return what the recording calls a parameter of this model."""
    return HEADS.get(name, name)


@torch.no_grad()
def fill(model: DSVA) -> None:
    for own_name, parameter in model.named_parameters():
        name = recorded_name(own_name)
        # The recorded prototypes have a last axis of length 1.
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(parameter.shape))
        if parameter.ndim == 1 and name.endswith("weight"):
            values = 1 + 0.1 * values
        else:
            values = values * (0.05 if name == "prototypes" else 0.02)
        parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def images(seed: int, count: int) -> Tensor:
    random = np.random.RandomState(seed)
    base = random.rand(count, 7, 7, 3)
    scaled = np.kron(base, np.ones((1, 32, 32, 1)))
    pixels = np.clip(255 * (0.8 * scaled + 0.2 * random.rand(count, 224, 224, 3)), 0, 255).astype(np.uint8)
    normalised = (pixels.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(normalised).permute(0, 3, 1, 2).contiguous()
