"""What the jobs work on, made from seeds: scenes, a table, tars, class files, a CLIP of random weights, configurations."""

import csv
import io
import json
import shutil
import string
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.utils.logging import disable_progress_bar

GROUNDS = {"Green": (60, 130, 50), "Blue": (40, 80, 170), "Brown": (140, 100, 60), "Gray": (130, 130, 130)}
THINGS = ("Stripes", "Dots", "Blocks")
CLASSES = [f"{ground}{thing}" for ground in GROUNDS for thing in THINGS]
UNSEEN = {"a": ["GreenDots", "BlueBlocks", "BrownStripes"], "b": ["GreenBlocks", "GrayDots", "BlueStripes"]}
IMAGES = 10  # of each class
FORMATS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("jpg", {"quality": 90}),
    ("png", {}),
    ("tif", {"compression": "tiff_lzw"}),
    ("tif", {}),
    ("jpg", {"progressive": True}),
)
ORIENTATION = 274  # Exif's tag
GROUPS = {"grounds": ["green", "blue", "brown", "gray"], "things": ["stripes", "dots", "blocks"], "looks": ["long", "small", "wet"]}
LOOKS = {"Stripes": (1.0, 0.2), "Dots": (0.1, 0.9), "Blocks": (0.3, 0.5)}

BASE: dict[str, dict[str, Any]] = {
    "data": {"shards": "out/sets/folders", "batch_size": 12, "image_size": 32, "resize": 36, "rotate": True, "min_scale": 0.6},
    "classes": {"attributes": "attributes.json", "splits": "splits.json", "split": "a"},
    "model": {"width": 32, "layers": 2, "heads": 2, "mlp": 64, "patch": 8},
    "optimizer": {"warmup_steps": 3},
    "train": {"steps": 12},
    "run": {"log_every": 1, "checkpoint_every": 4, "keep": 1},
}
REFERENCE: dict[str, dict[str, Any]] = {
    **BASE,
    "data": {**BASE["data"], "ways": 4, "normalize": "imagenet"},
    "classes": {**BASE["classes"], "seen_test_share": 0.2},
    "model": {**BASE["model"], "regions": True},
    "scores": {"kind": "dot", "double_softmax": True},
    "loss": {"group_main": 5.0e-6, "group_proto": 5.0e-4},
    "optimizer": {
        "lr": 1.0e-3,
        "backbone_lr": 1.0e-3,
        "betas": [0.5, 0.999],
        "weight_decay": 0,
        "clip_norm": 0,
        "schedule": "published",
        "epoch_steps": 3,
        "reset_moments": True,
        "train_head_norm": False,
    },
    "train": {"steps": 12, "heads_only_steps": 4},
    "validation": {"every": 4},
    "eval": {"protocol": "paper", "gamma": 1.4e-4},
}
SWEEP = {
    "config": "base.yaml",
    "set": {"train.steps": 6},
    "splits": {name: {"set": {"classes.split": name}} for name in UNSEEN},
    "protocols": {"GZSL": {"set": {"classes.seen_test_share": 0.2}}},
    "published": {"a": {"GZSL": {"H": 12.3}}},
}
VOCABULARY = {
    "class_templates": ["a picture of {}", "{} from above"],
    "attribute_templates": ["ground with {}", "a picture of {}"],
    "groups": GROUPS,
}


def make_inputs(folder: Path) -> str:
    """Write all of it into an empty folder, the same bytes every time; return a hash of them."""
    for name in CLASSES:
        (folder / "images" / name).mkdir(parents=True)
        for number in range(IMAGES):
            _save(_scene(name, number), folder / "images" / name, number)
    _scene("GreenDots", 99, (300, 260)).save(folder / "scene.tif")
    _write_table(folder)
    _write_tars(folder)
    splits = {name: {"seen": [each for each in CLASSES if each not in unseen], "unseen": unseen} for name, unseen in UNSEEN.items()}
    described = {"classes": CLASSES, "groups": GROUPS, "matrix": [_strengths(name) for name in CLASSES]}
    row = dict(zip([name for group in GROUPS.values() for name in group], _strengths("BlueDots"), strict=True))
    for name, value in {"splits.json": splits, "attributes.json": described, "rows.json": {"Pools": {**row, "wet": 1.0}}}.items():
        (folder / name).write_text(json.dumps(value, indent=1))
    for name, value in {"base": BASE, "reference": REFERENCE, "sweep": SWEEP, "vocabulary": VOCABULARY}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    _save_clip(folder / "clip")
    digest = sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)} {sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _strengths(name: str) -> list[float]:
    ground, thing = next((ground, thing) for ground in GROUNDS for thing in THINGS if f"{ground}{thing}" == name)
    wet = 0.9 if ground == "Blue" else 0.1 if ground == "Green" else 0.0
    return [*(float(ground == each) for each in GROUNDS), *(0.8 * (thing == each) for each in THINGS), *LOOKS[thing], wet]


def _scene(name: str, number: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Draw a scene of a class: its ground with noise, its things in another brightness."""
    random = np.random.RandomState([CLASSES.index(name), number])
    height, width = size or random.randint(40, 130, 2)
    rows, columns = np.mgrid[:height, :width]
    period, shift = random.randint(8, 16), random.randint(0, 16)
    across, down = (columns + shift) % period, (rows + shift) % period
    half = period // 2
    masks = {
        "Stripes": across + 0 * down < half // 2 + 1,
        "Dots": (across - half) ** 2 + (down - half) ** 2 < half * half / 2,
        "Blocks": (across < half) & (down < half),
    }
    ground, thing = next((ground, thing) for ground in GROUNDS for thing in THINGS if f"{ground}{thing}" == name)
    pixels = np.array(GROUNDS[ground]) + 70 * masks[thing][..., None] + random.randint(-25, 26, (height, width, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _save(image: Image.Image, folder: Path, number: int) -> None:
    """Save in a format of its number; some are turned by a tag, gray, or of a palette."""
    ending, options = FORMATS[number % len(FORMATS)]
    if number == 5:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        options = {**options, "exif": exif}
    if number == 6:
        image = image.convert("L")
    if number == 1:
        image = image.quantize(64, dither=Image.Dither.NONE)
    image.save(folder / f"{folder.name.lower()}_{number:02d}.{ending}", **options)


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the images with a split of each."""
    for name in CLASSES:
        for number, path in enumerate(sorted((folder / "images" / name).iterdir())):
            yield path, "test_unseen" if name in UNSEEN["a"] else "test_seen" if number % 5 == 0 else "train"


def _write_table(folder: Path) -> None:
    """List the images with splits in a CSV file, one of them cut off in the middle."""
    (folder / "broken.jpg").write_bytes(next((folder / "images").rglob("*.jpg")).read_bytes()[:600])
    with (folder / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "class", "split"])
        rows.writerow(["broken.jpg", "GreenDots", "train"])
        rows.writerows((path.relative_to(folder), path.parent.name, split) for path, split in _images(folder))


def _write_tars(folder: Path) -> None:
    """Write the images into tars as other programs do: a .cls and a .json file beside each, a tar for each split."""
    (folder / "tars").mkdir()
    for split in ("train", "test_seen", "test_unseen"):
        with tarfile.open(folder / "tars" / f"{split}-000000.tar", "w") as tar:
            for path in (path for path, own in _images(folder) if own == split):
                beside = {".cls": path.parent.name.encode(), ".json": json.dumps({"split": split}).encode()}
                for ending, content in {path.suffix: path.read_bytes(), **beside}.items():
                    member = tarfile.TarInfo(f"{path.stem}{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    shutil.copytree(folder / "tars", folder / "out" / "foreign")
    (folder / "out" / "tables").mkdir()


def _save_clip(folder: Path) -> None:
    """Save a whole CLIP of random weights that reads letter by letter, for images of 32 pixels."""
    letters = [*string.ascii_lowercase, *string.digits]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={token: place for place, token in enumerate(tokens)}, merges=[]).save_pretrained(folder)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    text = {**tower, **ends, "vocab_size": len(tokens), "max_position_embeddings": 77}
    torch.manual_seed(0)
    disable_progress_bar()
    config = CLIPConfig(text_config=text, vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
