"""What near-duplicate search finds and what it takes for one: made copies, scenes that two archives share, large random sets.

    python -m benchmarks.near_copies IMAGES OTHER [--every 6] [--rows 100000,10000 1000000,100000]

IMAGES and OTHER are class folders. Real pairs between them are found by another way: thumbnails of each image compared with those
of 96 crops of each other one, and the best few aligned by an optimiser on 64 x 64 pixels without coarse structure; a correlation
above 0.9 is a pair (on AID and WHU-RS19 none lies between 0.84 and 0.92). Prints markdown tables.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.optimize import minimize

from shards.difference_hashes import alike_pairs, near_pairs
from shards.image_checks import inspect
from shards.near_duplicates import SAME_SCENE, correlation

DISTANCES = range(17)
SMALL, COARSE = 64, 24  # sides of thumbnails
DECIDED = 16  # bits, as `dsva shards near`
Array = NDArray[np.float32]
Picture = Image.Image


def encoded(image: Picture, quality: int | None = 95) -> bytes:
    """Return a JPEG, or without a quality a PNG."""
    data = io.BytesIO()
    image.save(data, "PNG" if quality is None else "JPEG", **({} if quality is None else {"quality": quality}))
    return data.getvalue()


def cropped(image: Picture, share: float, rng: np.random.Generator) -> Picture:
    """Keep 1 - `share` of each side, at a random place."""
    width, height = (round(pixels * (1 - share)) for pixels in image.size)
    left, top = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def scaled(image: Picture, scale: float) -> Picture:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def brighter(image: Picture, strength: float) -> Picture:
    return ImageEnhance.Brightness(image).enhance(strength)


def contrasted(image: Picture, strength: float) -> Picture:
    return ImageEnhance.Contrast(image).enhance(strength)


def turned(image: Picture, turn: Image.Transpose) -> Picture:
    return image.transpose(turn)


def ways(rng: np.random.Generator) -> dict[str, Callable[[Picture], tuple[bytes, bytes]]]:
    """Return how two images of one scene are made of one image."""
    made: dict[str, Callable[[Picture], tuple[bytes, bytes]]] = {}

    def alone(name: str, change: Callable[[Picture], Picture], quality: int | None = 95) -> None:
        made[name] = lambda image: (encoded(image, None), encoded(change(image), quality))

    for share in (0.01, 0.02, 0.05, 0.1):
        alone(f"cropped by {share:.0%}", partial(cropped, share=share, rng=rng))
    for scale in (0.25, 0.5, 0.75, 2):
        alone(f"scaled to {scale}", partial(scaled, scale=scale))
    for quality in (30, 50, 90):
        alone(f"JPEG of quality {quality}", Picture.copy, quality)
    alone("JPEG to PNG", Picture.copy, None)
    for pixels in (1, 2, 4, 8):  # both are windows of one larger scene
        made[f"moved by {pixels} of 150 pixels"] = partial(_moved, share=pixels / 150)
    for strength in (0.7, 1.3):
        alone(f"brightness x {strength}", partial(brighter, strength=strength))
        alone(f"contrast x {strength}", partial(contrasted, strength=strength))
    alone("cropped by 5%, halved, JPEG 60", lambda image: scaled(cropped(image, 0.05, rng), 0.5), 60)
    for turn in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_90):
        alone(turn.name.lower().replace("_", " "), partial(turned, turn=turn))
    return made


def _moved(image: Picture, share: float) -> tuple[bytes, bytes]:
    pixels = round(share * image.width)
    width, height = image.size
    before, after = (0, 0, width - pixels, height - pixels), (pixels, pixels, width, height)
    return encoded(image.crop(before), None), encoded(image.crop(after))


def copies(files: list[Path]) -> None:
    """Print the recall of made copies."""
    print(f"\nPercent found of made copies of {len(files)} images, by bits in which hashes may differ; at last with pixels, too\n")
    shown = [0, 4, 8, 10, 12, 14, 16]
    print("| copy | " + " | ".join(map(str, shown)) + f" | {DECIDED}, confirmed |\n|:--|" + "--:|" * (len(shown) + 1))
    opened = [Image.open(file).convert("RGB") for file in files]
    for name, way in ways(np.random.default_rng(0)).items():
        pairs = [way(image) for image in opened]
        bits = [_alike_bits(inspect(first).phash, inspect(second).phash) for first, second in pairs]
        same = [
            bit <= DECIDED and correlation(_grey(first), _grey(second)) >= SAME_SCENE
            for bit, (first, second) in zip(bits, pairs, strict=True)
        ]
        cells = [100 * np.mean([bit <= most for bit in bits]) for most in shown] + [100 * np.mean(same)]
        print(f"| {name} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |", flush=True)


def _alike_bits(first: int, second: int) -> int:
    """Return in how many bits hashes differ; 65 where they do not tell scenes apart."""
    pieces = alike_pairs(np.array([first], np.uint64), np.array([second], np.uint64), 64)
    return next((int(pairs.bits[0]) for pairs in pieces if len(pairs.bits)), 65)


def _grey(data: bytes, side: int = 48) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((side, side), Image.Resampling.BILINEAR).convert("L"))


def real(files: list[Path], others: list[Path]) -> None:
    """Print recall and false alarms for the scenes that two archives share, and false alarms inside the first."""
    images, more = ([file.read_bytes() for file in some] for some in (files, others))
    hashes, other_hashes = (np.array([inspect(data).phash for data in some], np.uint64) for some in (images, more))
    true = set(shared([_grey(data, SMALL) for data in more], [_grey(data, SMALL) for data in images]))
    print(f"\n{len(true)} pairs of one scene between {len(others)} and {len(files)} images; by bits in which hashes may differ:\n")
    print("| bits | found | false: all hashes | false: hashes that tell | false: confirmed | inside: telling | inside: confirmed |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    greys, other_greys = ([_grey(data) for data in some] for some in (images, more))
    between = [*_listed(alike_pairs(other_hashes, hashes, max(DISTANCES)))]
    inside = [pair for pair in _listed(alike_pairs(hashes, hashes, max(DISTANCES))) if pair[0] < pair[1]]
    alike = {pair[:2]: correlation(other_greys[pair[0]], greys[pair[1]]) >= SAME_SCENE for pair in between}
    alike_inside = {pair[:2]: correlation(greys[pair[0]], greys[pair[1]]) >= SAME_SCENE for pair in inside}
    everything = [*_listed(near_pairs(other_hashes, hashes, max(DISTANCES)))]
    for most in DISTANCES:
        met = {pair[:2] for pair in between if pair[2] <= most}
        within = {pair[:2] for pair in inside if pair[2] <= most}
        blind = {pair[:2] for pair in everything if pair[2] <= most}
        cells = [len(met & true), len(blind - true), len(met - true), sum(alike[pair] for pair in met - true)]
        cells += [len(within), sum(alike_inside[pair] for pair in within)]
        print(f"| {most} | " + " | ".join(map(str, cells)) + " |")
    for pair in sorted(pair for pair, same in alike.items() if same != (pair in true)):
        print(f"- {others[pair[0]].stem}, {files[pair[1]].stem}: {'a pair' if pair in true else 'no pair'} by the other way")
    print("- inside, confirmed: " + "; ".join(f"{files[i].stem}, {files[j].stem}" for (i, j), same in alike_inside.items() if same))


def _listed(pieces: Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]]) -> Iterator[tuple[int, int, int]]:
    for piece in pieces:
        yield from zip(*(column.tolist() for column in piece), strict=True)


def shared(first: list[NDArray[np.uint8]], second: list[NDArray[np.uint8]]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of one scene, found without hashes."""
    boxes = [*_boxes()]
    fine, other_fine = ([_fine(image) for image in some] for some in (first, second))
    by_first, by_second = _best(first, second, boxes), _best(second, first, boxes)
    for i in range(len(first)):
        scores = np.maximum(by_first[0][i], by_second[0][:, i])
        for j in np.argsort(-scores)[:4].tolist():
            if by_first[0][i, j] >= by_second[0][j, i]:
                value = _aligned(fine[i], other_fine[j], boxes[by_first[1][i, j]])
            else:
                value = _aligned(other_fine[j], fine[i], boxes[by_second[1][j, i]])
            if value > 0.9:
                yield i, j


def _boxes() -> Iterator[tuple[float, float, float, float]]:
    for scale, places in ((1, 1), (0.95, 3), (0.9, 3), (0.85, 3), (0.8, 3), (0.7, 3), (0.6, 5), (0.5, 5)):
        for place in range(places**2):
            top, left = (SMALL * (1 - scale) * at / max(places - 1, 1) for at in divmod(place, places))
            yield left, top, left + SMALL * scale, top + SMALL * scale


def _best(
    whole: list[NDArray[np.uint8]], parts: list[NDArray[np.uint8]], boxes: list[tuple[float, float, float, float]]
) -> tuple[Array, NDArray[np.int16]]:
    """Return the highest correlation of each whole with the crops of each part, and which crop has it."""
    wholes = _normed(whole, (0, 0, SMALL, SMALL))
    best = np.full((len(whole), len(parts)), -1, np.float32)
    which = np.zeros(best.shape, np.int16)
    for number, box in enumerate(boxes):
        values = wholes @ _normed(parts, box).T
        which[values > best] = number
        best = np.maximum(best, values)
    return best, which


def _normed(images: list[NDArray[np.uint8]], box: tuple[float, float, float, float]) -> Array:
    crops = [Image.fromarray(image).resize((COARSE, COARSE), Image.Resampling.BILINEAR, box=box) for image in images]
    rows = np.stack([np.asarray(crop, np.float32).ravel() for crop in crops])
    rows -= rows.mean(1, keepdims=True)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)


def _fine(image: NDArray[np.uint8]) -> Array:
    pixels = image.astype(np.float32)
    return gaussian_filter(pixels, 1) - gaussian_filter(pixels, 4)


def _aligned(whole: Array, part: Array, box: tuple[float, float, float, float]) -> float:
    """Return the correlation of a picture with the other one, scaled and moved so that it fits best; begin with a box of it."""

    def misfit(at: NDArray[np.float64]) -> float:
        scale, row, column = at
        middle = SMALL / 2 - 0.5
        moved = affine_transform(
            part, [scale] * 2, [row - middle * scale - 0.5, column - middle * scale - 0.5], order=1, mode="nearest"
        )
        return -float(np.corrcoef(whole.ravel(), moved.ravel())[0, 1])

    begin = (box[3] - box[1]) / SMALL, (box[1] + box[3]) / 2, (box[0] + box[2]) / 2
    tried = [
        np.array([begin[0] * by, begin[1] + down, begin[2] + right])
        for by in (0.96, 1, 1.04)
        for down in (-2, 0, 2)
        for right in (-2, 0, 2)
    ]
    start = min(tried, key=misfit)
    simplex = start + np.array([[0, 0, 0], [0.03, 0, 0], [0, 1, 0], [0, 0, 1]])
    return -float(minimize(misfit, start, method="Nelder-Mead", options={"maxfev": 80, "initial_simplex": simplex}).fun)


def times(files: list[Path], rows: list[str]) -> None:
    """Print how long the search takes, for random hashes and for those of random crops and blends of the images."""
    print("\n| hashes | rows | against | bits | processor seconds | pairs |\n|:--|--:|--:|--:|--:|--:|")
    greys = np.stack([_grey(file.read_bytes(), SMALL) for file in files]).astype(np.float32)
    rng = np.random.default_rng(0)
    kinds = {
        "random": lambda count: rng.integers(0, 1 << 64, count, np.uint64),
        "as of images": lambda count: _made(greys, count, rng),
    }
    for name, made in kinds.items():
        for many, few in (map(int, pair.split(",")) for pair in rows):
            first, second = made(many), made(few)
            for distance in (10, 12):
                start = time.process_time()
                found = sum(len(pairs.bits) for pairs in near_pairs(first, second, distance))
                seconds = time.process_time() - start
                print(f"| {name} | {many:,} | {few:,} | {distance} | {seconds:.1f} | {found:,} |", flush=True)


def _made(greys: Array, count: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    hashes: list[NDArray[np.uint64]] = []
    while sum(map(len, hashes)) < count:
        side = int(rng.integers(24, SMALL - 7))
        top, left = rng.integers(0, SMALL - side + 1, 2)
        crops = greys[:, top : top + side, left : left + side][:, :: rng.choice([1, -1]), :: rng.choice([1, -1])]
        mixed = crops + 0.7 * crops[rng.permutation(len(crops))]
        cells = mixed[:, (np.arange(8) * side // 8)[:, None], np.arange(9) * side // 9]
        bits = np.ascontiguousarray((cells[:, :, :-1] < cells[:, :, 1:]).reshape(len(cells), 64))
        hashes.append(np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64))
    return np.concatenate(hashes)[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--every", type=int, default=6, help="make copies of every so many images")
    parser.add_argument("--rows", nargs="*", default=["100000,10000", "1000000,100000"])
    given = parser.parse_args()
    files, others = (sorted(folder.glob("*/*.*")) for folder in (given.images, given.other))
    copies(files[:: given.every])
    times(files, given.rows)
    real(files, others)


if __name__ == "__main__":
    main()
