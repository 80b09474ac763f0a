"""The long things that cross a scene: roads, runways and railways, drawn before all others."""

from itertools import pairwise

import numpy as np

from dsva.demo.canvas import CONTAINER_COLOURS, UNITS, WHITE, Canvas, Colour, Points, moved, rectangle, turned


def _through(canvas: Canvas, angle: float, bend: float, reach: float = 0.3) -> Points:
    """Return a line across the whole scene, straight or bent, [n, 2]."""
    along = np.linspace(-UNITS, UNITS, 25)
    across = bend * UNITS * ((along / UNITS) ** 2 - 0.1) + canvas.random.uniform(-reach, reach) * UNITS
    return turned(np.column_stack([along, across]), angle) + UNITS / 2


def _beside(points: Points, offset: float) -> Points:
    """Return the line through points [n, 2] moved sideways by `offset`."""
    ahead = np.gradient(points, axis=0)
    return np.asarray(points + np.column_stack([-ahead[:, 1], ahead[:, 0]]) / np.hypot(*ahead.T)[:, None] * offset)


def _dashes(canvas: Canvas, points: Points, width: float, colour: Colour) -> None:
    gaps = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.column_stack([np.interp(np.arange(0, gaps[-1], 3.0), gaps, axis) for axis in points.T])
    for first, last in at[: len(at) // 2 * 2].reshape(-1, 2, 2):
        canvas.line(np.array([first, last]), width, colour)


def roads(canvas: Canvas, strength: float) -> None:
    """Draw asphalt roads with light verges and a dashed middle line."""
    angle = canvas.angle
    for index in range(canvas.count(strength, 2)):
        width = canvas.random.uniform(5, 6.5)
        points = _through(canvas, angle + index * np.pi / 2, canvas.random.choice([0, 0.1, -0.15]))
        canvas.line(points, width + 1.6, canvas.shade((188, 180, 164)))
        canvas.line(points, width, canvas.shade((74, 74, 80), 6))
        _dashes(canvas, points, 0.6, WHITE)
        canvas.take_line(points, width + 2)


def runways(canvas: Canvas, strength: float) -> None:
    """Draw one broad runway along the scene's direction, with edge lines, threshold bars and middle line."""
    width = canvas.random.uniform(11, 15) * (0.7 + 0.3 * strength)
    points = _through(canvas, canvas.angle, 0, 0.2)
    canvas.line(points, width + 3, canvas.shade((146, 144, 140)))
    canvas.line(points, width, canvas.shade((52, 52, 58), 5))
    for edge in (-1, 1):
        canvas.line(_beside(points, edge * width * 0.42), 0.6, WHITE)
    _dashes(canvas, points, 0.9, WHITE)
    start = points[12] + (points[13] - points[12]) * canvas.random.uniform(-2.5, 2.5)
    for offset in np.linspace(-0.32, 0.32, 6) * width:
        canvas.polygon(rectangle(moved(start, 0, offset, canvas.angle), 7, 0.9, canvas.angle), WHITE)
    canvas.take_line(points, width + 2)


def railways(canvas: Canvas, strength: float) -> None:
    """Draw parallel tracks of rails on sleepers and ballast, with a train on some."""
    tracks = canvas.count(strength, 4)
    middle = _through(canvas, canvas.angle, canvas.random.choice([0, 0.05, -0.05]))
    canvas.line(middle, 6 * tracks + 1, canvas.shade((126, 112, 100)))
    livery = canvas.pick(CONTAINER_COLOURS)
    for offset in (np.arange(tracks) - (tracks - 1) / 2) * 6:
        track = _beside(middle, offset)
        for first, last in pairwise(track[6:-6]):
            heading = np.arctan2(*(last - first)[::-1])
            for share in np.linspace(0, 1, 5)[:-1]:
                canvas.polygon(rectangle(first + (last - first) * share, 0.7, 4.0, heading), (66, 52, 44))
        for rail in (-1.1, 1.1):
            canvas.line(_beside(track, offset=rail), 0.5, (206, 208, 214))
        if canvas.random.random() < 0.4:
            _train(canvas, track, livery)
    canvas.take_line(middle, 6 * tracks + 2)


def _train(canvas: Canvas, track: Points, colour: Colour) -> None:
    start = canvas.random.integers(6, 11)
    for first, last in pairwise(track[start : start + 6]):
        length = np.hypot(*(last - first))
        heading = np.arctan2(*(last - first)[::-1])
        canvas.block(rectangle((first + last) / 2, length - 0.8, 3.4, heading), 1.5, colour)
        canvas.polygon(rectangle((first + last) / 2, length - 2, 1.2, heading), canvas.shade((214, 214, 212), 5))
