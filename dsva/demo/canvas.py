"""The sheet that a scene is drawn on: pixels, one source of chance, one sun, and what is already taken.

Lengths and positions are in units of 1/96 of the scene's side, whatever its size in pixels. Everything is drawn at
three times the final size and averaged down, which smooths all edges.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shards.hashing import hashes

UNITS = 96
SUPERSAMPLING = 3
_CORNERS = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
Points = NDArray[np.float64]
Colour = tuple[int, int, int]
WHITE: Colour = (238, 240, 240)
CONTAINER_COLOURS: tuple[Colour, ...] = ((190, 60, 44), (38, 92, 160), (210, 130, 40), (50, 128, 80), (220, 196, 70))


class Canvas:
    """One scene in the making.

    Attributes:
        size: side of the finished picture, pixels.
        random: the scene's own generator, keyed by hashes of the words given.
        angle: direction (radians) that ordered things share in this scene.
        water: where there is water, [96, 96] by row and column.
    """

    def __init__(self, size: int, *words: int) -> None:
        self.size = size
        self.scale = size * SUPERSAMPLING / UNITS
        self.random = np.random.Generator(np.random.Philox(key=int(hashes(*words))))
        self.angle = self.random.uniform(0, np.pi)
        sun = self.random.uniform(0, 2 * np.pi)
        self.shadow = np.array([np.cos(sun), np.sin(sun)]) * self.random.uniform(0.6, 1.0)
        self.water = np.zeros((UNITS, UNITS), bool)
        self.taken = np.zeros((0, 3))
        self.image = Image.new("RGB", (size * SUPERSAMPLING,) * 2)
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def paint(self, image: Image.Image) -> None:
        """Replace all pixels by `image`, enlarged to the canvas."""
        self.image.paste(image.resize(self.image.size, Image.Resampling.BILINEAR))

    def finished(self) -> Image.Image:
        """Return the picture at its final size, RGB, under a light of its own: exposure, tint and haze."""
        gains = self.random.uniform(0.88, 1.08) * self.random.uniform(0.97, 1.03, 3)
        haze = self.random.uniform(0, 20)
        table = np.arange(256) * gains[:, None] * (1 - haze / 255) + haze
        return self.image.reduce(SUPERSAMPLING).point(np.clip(table, 0, 255).astype(int).ravel().tolist())

    # Drawing

    def polygon(self, points: Points, colour: Colour, alpha: int = 255) -> None:
        """Fill a polygon, points [n, 2]."""
        self.draw.polygon((points * self.scale).ravel().tolist(), (*colour, alpha))

    def disc(self, centre: Points, radius: float, colour: Colour, alpha: int = 255) -> None:
        """Fill a circle."""
        x, y, r = *(centre * self.scale), radius * self.scale
        self.draw.ellipse((x - r, y - r, x + r, y + r), (*colour, alpha))

    def line(self, points: Points, width: float, colour: Colour, alpha: int = 255) -> None:
        """Draw a line through points [n, 2]."""
        self.draw.line((points * self.scale).ravel().tolist(), (*colour, alpha), max(1, round(width * self.scale)), joint="curve")

    def block(self, corners: Points, height: float, colour: Colour) -> None:
        """Fill a polygon that stands `height` above the ground and casts a shadow."""
        for step in (1.0, 0.5) if height > 1.5 else (0.8,):
            self.polygon(corners + self.shadow * height * step, (8, 12, 24), 75)
        self.polygon(corners, colour)

    # Chance

    def count(self, strength: float, full: float) -> int:
        """Return how many things to draw: about `full` at strength 1, at least one."""
        return max(1, round(strength * full * self.random.uniform(0.75, 1.25)))

    def shade(self, colour: Colour, spread: float = 12, lighter: float = 0) -> Colour:
        """Return a colour near `colour`, or lighter than it by so much, varied in brightness and a little in hue."""
        light, *hue = (self.random.standard_normal(4) * spread).tolist()
        shifted = (part + lighter + light + shift / 3 for part, shift in zip(colour, hue, strict=True))
        red, green, blue = (min(255, max(0, int(part))) for part in shifted)
        return red, green, blue

    def pick(self, colours: Sequence[Colour], spread: float = 12) -> Colour:
        """Return a colour near one of `colours`."""
        return self.shade(colours[int(self.random.integers(len(colours)))], spread)

    # Places

    def scatter(self, count: int, radius: float, *, afloat: bool = False) -> Points:
        """Return up to `count` free places for things of `radius`, [n, 2], and take them."""
        candidates = self.random.uniform(radius * 0.6, UNITS - radius * 0.6, (10 * count, 2))
        candidates = candidates[self.free(candidates, radius, afloat=afloat)]
        places: list[Points] = []
        while len(places) < count and len(candidates):
            places.append(candidates[0])
            candidates = candidates[((candidates - candidates[0]) ** 2).sum(1) > 4 * radius**2]
        return self._take(np.array(places).reshape(-1, 2), radius)

    def lattice(self, count: int, along: float, across: float, radius: float) -> Points:
        """Return up to `count` free places on a grid turned by `angle`, out from a middle, [n, 2], and take them."""
        steps = np.arange(-UNITS, UNITS)
        grid = np.stack(np.meshgrid(steps * along, steps * across), -1).reshape(-1, 2)
        grid = grid[(np.abs(grid) < UNITS).all(1)] + self.random.uniform(0, 1, 2) * (along, across)
        places = turned(grid, self.angle) + UNITS / 2
        usable = ((places > 0) & (places < UNITS)).all(1) & self.free(places, radius)
        middle = self.random.uniform(-0.25, 0.25, 2) * UNITS
        nearest = np.argsort(np.abs(grid[usable] - middle).max(1), kind="stable")[:count]
        return self._take(places[usable][nearest], radius)

    def free(self, places: Points, radius: float, *, afloat: bool = False) -> NDArray[np.bool_]:
        """Return which of `places` [n, 2] are clear of everything taken, and on land (or on water), [n]."""
        squares = ((places[:, None] - self.taken[:, :2]) ** 2).sum(-1)
        clear: NDArray[np.bool_] = (squares > (radius + self.taken[:, 2]) ** 2).all(1)
        for offset in np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]) * radius * 0.8:
            column, row = np.clip(places + offset, 0, UNITS - 1).astype(int).T
            clear &= self.water[row, column] == afloat
        return clear

    def _take(self, places: Points, radius: float) -> Points:
        self.taken = np.concatenate([self.taken, np.column_stack([places, np.full(len(places), radius)])])
        return places

    def take_line(self, points: Points, width: float) -> None:
        """Mark a line through points [n, 2] as taken."""
        gaps = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        along = np.arange(0, gaps[-1], 3.0)
        self._take(np.column_stack([np.interp(along, gaps, axis) for axis in points.T]), width / 2)


def turned(points: Points, angle: float) -> Points:
    """Turn points [n, 2] about the provenance by `angle`, radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def moved(place: Points, along: float, across: float, angle: float) -> Points:
    """Return the place that lies so far from `place`, along `angle` and to its side, [2]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([place[0] + along * cos - across * sin, place[1] + along * sin + across * cos])


def rectangle(centre: Points, length: float, width: float, angle: float) -> Points:
    """Return the corners of a rectangle whose length points along `angle`, [4, 2]."""
    cos, sin = math.cos(angle) / 2, math.sin(angle) / 2
    along, across = (length * cos, length * sin), (-width * sin, width * cos)
    return np.asarray(centre + _CORNERS @ np.array([along, across]))
