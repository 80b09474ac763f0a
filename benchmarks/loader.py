"""Streaming from shards against the published code's way: loose files, Pillow, floats image by image, two worker processes.

Usage: python -m benchmarks.loader IMAGES [--count 4000] [--rounds 3]

IMAGES is a folder of class folders; mosaics of them are saved as 256 x 256 JPEGs of quality 90. Batches of 64, page cache
warm. Prints a markdown table of images/s: medians of interleaved rounds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from dsva.config import DataConfig
from dsva.pixels import training_pixels
from shards.index import ShardSet
from shards.loader import Loader
from shards.order import ShuffledEpochs
from shards.pack import pack
from shards.sources import open_source

BATCH, SIDE, CROP, CLASSES = 64, 256, 224, 10
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # that the floats go to
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def draw_mosaics(images: Path, folder: Path, count: int) -> None:
    sources = [np.asarray(Image.open(path).convert("RGB").resize((SIDE // 2,) * 2)) for path in sorted(images.rglob("*.jpg"))[::9]]
    draw = np.random.default_rng(0)
    for number in range(count):
        a, b, c, d = (sources[i] for i in draw.integers(len(sources), size=4))
        path = folder / f"class_{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.block([[[a], [b]], [[c], [d]]]).astype(np.uint8)).save(path, quality=90)


class LooseFiles(Dataset[tuple[torch.Tensor, int]]):
    """Each image: opened and decoded by Pillow, cropped and mirrored, to a normalised float tensor."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[place]) as image:
            top, left = np.random.randint(0, SIDE - CROP + 1, 2)
            pixels = np.asarray(image.convert("RGB").crop((left, top, left + CROP, top + CROP)), np.float32) / 255
        if np.random.rand() < 0.5:
            pixels = pixels[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1))), 0


def published(folder: Path) -> float:
    loader = DataLoader(LooseFiles(folder), BATCH, shuffle=True, num_workers=2)
    start, seen = time.perf_counter(), 0
    for images, _ in loader:
        seen += len(images.to(DEVICE))
    return seen / (time.perf_counter() - start)


def ours(shards: ShardSet, config: DataConfig, floats: bool) -> float:
    order = ShuffledEpochs(np.arange(len(shards)), BATCH, 0)
    steps, start = len(shards) // BATCH, time.perf_counter()
    for batch in Loader(shards, order, SIDE, workers=2).batches(0, steps):
        if floats:
            training_pixels(torch.from_numpy(batch.images).to(DEVICE), config, 0, batch.step, batch.positions)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return steps * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    config = DataConfig(batch_size=BATCH, image_size=CROP, resize=SIDE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "images")
        folder.mkdir()
        draw_mosaics(given.images, folder, given.count)
        shards = pack(open_source(folder), Path(scratch, "set"), workers=2).shards
        ways: dict[str, Callable[[], float]] = {
            "published code's way: floats": lambda: published(folder),
            "shards: uint8 batches": lambda: ours(shards, config, floats=False),
            "shards: uint8 batches, then floats on the device": lambda: ours(shards, config, floats=True),
        }
        rounds = [{name: way() for name, way in ways.items()} for _ in range(given.rounds + 1)][1:]
    first = statistics.median(r["published code's way: floats"] for r in rounds)
    print("| | images/s | ratio |\n|:--|--:|--:|")
    for name in ways:
        rate = statistics.median(r[name] for r in rounds)
        print(f"| {name} | {rate:,.0f} | {rate / first:.2f} |")


if __name__ == "__main__":
    main()
