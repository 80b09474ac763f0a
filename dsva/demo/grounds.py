"""What a scene lies on: textured grounds, and the outline between two of them.

Grounds are soft, so they are computed at the final size and enlarged to the canvas.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsva.demo.canvas import UNITS, Canvas
from dsva.demo.classes import SceneClass, Second

Field = NDArray[np.float32]
# Two colours between which a ground varies from spot to spot, and how rough its fine grain is.
GROUNDS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int], float]] = {
    "grass": ((92, 128, 58), (124, 146, 76), 9),
    "sand": ((214, 190, 142), (228, 208, 166), 5),
    "water": ((28, 78, 122), (44, 104, 142), 4),
    "soil": ((128, 92, 62), (150, 112, 78), 8),
    "rock": ((112, 110, 108), (146, 142, 136), 10),
    "snow": ((226, 232, 240), (246, 248, 252), 3),
    "paving": ((146, 148, 150), (164, 164, 162), 4),
}
# Relief, as the strength of slopes lit by the sun, where a ground has any.
RELIEF = {"rock": 260.0, "snow": 60.0, "sand": 50.0, "soil": 40.0}


def lay_grounds(canvas: Canvas, scene: SceneClass) -> None:
    """Paint the grounds of `scene` and mark where there is water."""
    pixels = texture(canvas, scene.ground)
    if scene.second:
        depth = outline(canvas, scene.second)
        sharp = np.clip(depth * (canvas.size / UNITS) + 0.5, 0, 1)[..., None]
        pixels = pixels + (texture(canvas, scene.second.material) - pixels) * sharp
        if scene.second.material == "water":
            foam = np.exp(-(((depth - 0.8) / 0.9) ** 2))[..., None] * canvas.random.uniform(0.2, 0.7)
            shallow = np.exp(-np.clip(depth, 0, None) / 5)[..., None] * sharp * 0.35
            pixels = pixels + ((110, 170, 170) - pixels) * shallow
            pixels = pixels + ((236, 240, 238) - pixels) * foam
            canvas.water = _shrunk(depth) > 0
    canvas.paint(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


def texture(canvas: Canvas, material: str) -> Field:
    """Return the pixels of a ground before light, RGB in 0..255, [size, size, 3]."""
    first, second, grain = GROUNDS[material]
    broad = noise(canvas, (3, 7, 15))
    fine = noise(canvas, (24, 48, 110))
    share = np.clip(0.5 + broad, 0, 1)[..., None]
    pixels = np.array(canvas.shade(first, 6)) * (1 - share) + np.array(canvas.shade(second, 6)) * share
    value = fine * (2 * grain)
    if material in RELIEF:
        slope = np.gradient(broad, axis=0) * 2 + np.gradient(fine, axis=1) / 6
        value += slope * (RELIEF[material] * canvas.size / UNITS)
    if material in ("water", "sand"):
        value += _ripples(canvas, broad) * (5 if material == "water" else 3)
    if material == "paving":
        value -= _joints(canvas) * 14
    return np.asarray(pixels + value[..., None], np.float32)


def noise(canvas: Canvas, grids: tuple[int, ...]) -> Field:
    """Return smooth noise of deviation about 0.3: random grids from coarse to fine, enlarged and added, [size, size]."""
    side = canvas.size
    total = np.zeros((side, side), np.float32)
    for octave, cells in enumerate(grids):
        grid = canvas.random.standard_normal((cells + 1, cells + 1)).astype(np.float32)
        total += np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)) * np.float32(0.35 * 0.6**octave)
    return total


def outline(canvas: Canvas, second: Second) -> Field:
    """Return how far inside the second ground every pixel lies, about in units and negative outside, [size, size]."""
    side = canvas.size
    share = float(np.clip(second.share * canvas.random.uniform(0.8, 1.2), 0, 0.75))
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    x, y = np.meshgrid(axis, axis)
    angle = canvas.random.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if second.shape == "coast":
        height = along + noise(canvas, (3, 6)) * 0.12
    elif second.shape == "lake":
        place = canvas.random.uniform(-0.15, 0.15, 2)
        height = -np.hypot(along - place[0], (across - place[1]) * canvas.random.uniform(0.8, 1.3)) + noise(canvas, (3, 6)) * 0.12
    elif second.shape == "river":
        bends = canvas.random.uniform(0.06, 0.14) * np.sin(across * canvas.random.uniform(4, 8) + canvas.random.uniform(0, 6))
        height = -np.abs(along + bends + canvas.random.uniform(-0.12, 0.12)) + noise(canvas, (4, 9)) * 0.03
    else:
        height = noise(canvas, (3, 6, 12)) * 0.3
    return np.asarray((height - np.quantile(height, 1 - share)) * UNITS, np.float32)


def _ripples(canvas: Canvas, broad: Field) -> Field:
    side = len(broad)
    axis = np.arange(side, dtype=np.float32) / side * 2 * np.pi
    waves = canvas.random.uniform(12, 26)
    angle = canvas.random.uniform(0, np.pi)
    phase = (axis[None] * np.cos(angle) + axis[:, None] * np.sin(angle)) * waves
    return np.asarray(np.sin(phase + broad * 6), np.float32)


def _joints(canvas: Canvas) -> Field:
    pitch = canvas.random.uniform(9, 15) * canvas.size / UNITS
    line = (np.arange(canvas.size, dtype=np.float32) % np.float32(pitch)) < 1
    return np.asarray(line[None] | line[:, None], np.float32)


def _shrunk(depth: Field) -> Field:
    rows = (np.arange(UNITS) * len(depth)) // UNITS
    return depth[np.ix_(rows, rows)]
