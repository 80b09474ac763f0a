"""The things that stand on a scene's ground, seen from above: one function each, drawn in the order of `DRAWERS`."""

from collections.abc import Callable

import numpy as np

from dsva.demo.canvas import CONTAINER_COLOURS, WHITE, Canvas, moved, rectangle, turned
from dsva.demo.lines import railways, roads, runways

ROOFS = ((164, 74, 52), (178, 92, 66), (150, 62, 48))
HALLS = ((190, 192, 194), (206, 208, 206), (168, 178, 190), (200, 194, 182))
CARS = ((190, 44, 40), (44, 76, 140), (240, 240, 240), (226, 228, 230), (34, 34, 38), (150, 154, 160))
CROPS = ((92, 146, 48), (156, 168, 62), (64, 118, 46), (190, 172, 84))
CROWNS = ((38, 78, 38), (48, 92, 42), (30, 66, 40))
_CIRCLE = np.linspace(0, 2 * np.pi, 20)


def fields(canvas: Canvas, strength: float) -> None:
    """Draw parcels of crops as parallel rows."""
    length, width = canvas.random.uniform(26, 34), canvas.random.uniform(18, 24)
    for place in canvas.lattice(canvas.count(strength, 10), length, width, width * 0.42):
        colour = canvas.pick(CROPS)
        canvas.polygon(rectangle(place, length - 2, width - 2, canvas.angle), canvas.shade((112, 84, 56), 6))
        lengthwise = canvas.random.random() < 0.7
        angle = canvas.angle if lengthwise else canvas.angle + np.pi / 2
        row, reach = (length - 3, width - 3.4) if lengthwise else (width - 3, length - 3.4)
        for offset in np.arange(-reach / 2, reach / 2 + 0.1, 2.8):
            middle = moved(place, 0.0, offset, angle)
            canvas.polygon(rectangle(middle, row, 1.7, angle), canvas.shade(colour, 5))


def sports_fields(canvas: Canvas, strength: float) -> None:
    """Draw pitches and courts with white lines."""
    for place in canvas.lattice(canvas.count(strength, 4), 32, 22, 10):
        base = canvas.pick(((66, 152, 64), (66, 152, 64), (190, 84, 50), (52, 108, 168)), 8)
        length, width = canvas.random.uniform(25, 29), canvas.random.uniform(16, 18.5)
        canvas.polygon(rectangle(place, length + 3, width + 3, canvas.angle), canvas.shade((176, 84, 60), 8))
        for stripe in range(6):
            middle = moved(place, (stripe - 2.5) * length / 6, 0, canvas.angle)
            tone = canvas.shade(base, 1) if stripe % 2 else canvas.shade(base, 1, 14)
            canvas.polygon(rectangle(middle, length / 6 + 0.1, width, canvas.angle), tone)
        for part in (1.0, 0.0):
            corners = rectangle(place, (length - 2) * part, width - 2, canvas.angle)
            canvas.line(np.concatenate([corners, corners[:2]]), 0.8, WHITE)
        ring = np.column_stack([np.cos(_CIRCLE), np.sin(_CIRCLE)]) * width * 0.2 + place
        canvas.line(ring, 0.8, WHITE)


def solar_panels(canvas: Canvas, strength: float) -> None:
    """Draw rows of dark panels with bright frames."""
    length = canvas.random.uniform(20, 28)
    colour = canvas.shade((26, 38, 84), 6)
    for place in canvas.lattice(canvas.count(strength, 26), length + 2, 7.5, 3.4):
        corners = rectangle(place, length, 4.8, canvas.angle)
        canvas.block(corners, 1.5, (196, 204, 216))
        for cell in np.arange(-length / 2 + 1.5, length / 2 - 0.5, 3.0):
            for side in (-1.1, 1.1):
                middle = moved(place, cell, side, canvas.angle)
                canvas.polygon(rectangle(middle, 2.6, 1.9, canvas.angle), canvas.shade(colour, 4))


def tanks(canvas: Canvas, strength: float) -> None:
    """Draw round storage tanks inside low dikes."""
    radius = canvas.random.uniform(5.5, 8.5)
    colour = canvas.pick(((236, 236, 232), (222, 214, 198), (206, 214, 216)), 6)
    pitch = 2 * radius + canvas.random.uniform(4, 7)
    for place in canvas.lattice(canvas.count(strength, 11), pitch, pitch, radius + 0.5):
        for step in np.linspace(1.0, 0.2, 5):
            canvas.disc(place + canvas.shadow * 5 * step, radius, (10, 12, 22), 60)
        canvas.disc(place, radius, canvas.shade(colour, 3, -44))
        canvas.disc(place, radius - 0.7, canvas.shade(colour, 4))
        canvas.disc(place - canvas.shadow * radius * 0.15, radius * 0.62, (255, 255, 255), 80)
        canvas.disc(place, 0.8, (120, 120, 120))
        spoke = place + turned(np.array([(0.0, 0.0), (radius - 0.8, 0.0)]), canvas.angle)
        canvas.line(spoke, 0.5, (140, 136, 130))


def halls(canvas: Canvas, strength: float) -> None:
    """Draw large flat-roofed buildings with parapet, ridges and vents."""
    for place in canvas.scatter(canvas.count(strength, 5), 12):
        length, width = canvas.random.uniform(19, 25), canvas.random.uniform(12, 16)
        angle = canvas.angle + canvas.random.choice([0, np.pi / 2])
        roof = canvas.pick(HALLS)
        canvas.block(rectangle(place, length, width, angle), 4, roof)
        canvas.polygon(rectangle(place, length - 1.6, width - 1.6, angle), canvas.shade(roof, 3, -16))
        for offset in np.arange(-length / 2 + 2.5, length / 2 - 1.5, 3.2):
            middle = moved(place, offset, 0.0, angle)
            canvas.polygon(rectangle(middle, 0.8, width - 2.4, angle), canvas.shade(roof, 3, 10))
        for vent in turned(canvas.random.uniform(-0.35, 0.35, (3, 2)) * (length, width), angle) + place:
            canvas.block(rectangle(vent, 2, 2, angle), 1, (104, 108, 114))


def houses(canvas: Canvas, strength: float) -> None:
    """Draw houses with red gable roofs, one side in the sun."""
    for place in canvas.scatter(canvas.count(strength, 14), 6.2):
        angle = canvas.angle + canvas.random.choice([0, np.pi / 2]) + canvas.random.normal(0, 0.08)
        length, width = canvas.random.uniform(9, 12), canvas.random.uniform(6.5, 8)
        roof = canvas.pick(ROOFS)
        canvas.block(rectangle(place, length, width, angle), 3, canvas.shade(roof, 4, 26))
        side = moved(np.zeros(2), 0, width / 4, angle)
        side = side if side @ canvas.shadow > 0 else -side
        canvas.polygon(rectangle(place + side, length, width / 2, angle), canvas.shade(roof, 4, -24))
        chimney = place - moved(side, length * 0.25, 0.0, angle)
        canvas.block(rectangle(chimney, 1.3, 1.3, angle), 1.2, (96, 82, 78))


def pools(canvas: Canvas, strength: float) -> None:
    """Draw turquoise swimming pools, square or round, with pale decks and loungers."""
    for place in canvas.scatter(canvas.count(strength, 5), 8):
        angle = canvas.angle + canvas.random.uniform(-0.2, 0.2)
        length, width = canvas.random.uniform(10, 13), canvas.random.uniform(6, 8)
        colour = canvas.shade((44, 190, 216), 8)
        canvas.polygon(rectangle(place, length + 3.4, width + 3.4, angle), canvas.shade((226, 214, 196), 6))
        if canvas.random.random() < 0.5:
            canvas.polygon(rectangle(place, length, width, angle), colour)
        else:
            for end in turned(np.array([(-length * 0.2, 0.0), (length * 0.2, 0.0)]), angle) + place:
                canvas.disc(end, width * 0.5, colour)
        canvas.polygon(rectangle(place, length * 0.5, 0.7, angle), (150, 228, 238))
        for offset in np.linspace(-0.4, 0.4, 4) * length:
            lounger = moved(place, offset, width / 2 + 0.9, angle)
            canvas.polygon(rectangle(lounger, 0.9, 1.8, angle), WHITE)


def containers(canvas: Canvas, strength: float) -> None:
    """Draw stacks of shipping containers in many colours."""
    for place in canvas.lattice(canvas.count(strength, 9), 15, 15, 7):
        angle = canvas.angle
        for column in range(4):
            if canvas.random.random() < 0.12:
                continue
            middle = moved(place, 0.0, (column - 1.5) * 3.2, angle)
            colour = canvas.pick(CONTAINER_COLOURS)
            canvas.block(rectangle(middle, 12.4, 2.8, angle), canvas.random.uniform(1.5, 3.5), colour)
            for rib in np.arange(-5, 5.1, 2.5):
                at = moved(middle, rib, 0.0, angle)
                canvas.polygon(rectangle(at, 0.5, 2.4, angle), canvas.shade(colour, 2, -30))


def aircraft(canvas: Canvas, strength: float) -> None:
    """Draw white aircraft with swept wings and a coloured tail, parked on an apron."""
    outline = np.array(
        [(9, 0), (7.5, 1), (2.5, 1.1), (-3, 8), (-4.6, 8), (-1.5, 1.1), (-6, 0.9), (-8, 3.2), (-9, 3.2), (-8, 0)], np.float64
    )
    outline = np.concatenate([outline, outline[::-1] * (1, -1)])
    places = canvas.lattice(canvas.count(strength, 6), 19, 21, 8.5)
    concrete = canvas.shade((158, 158, 154), 6)
    for place in places:
        canvas.polygon(rectangle(place, 20, 22, canvas.angle), concrete)
    heading = canvas.angle + canvas.random.choice([0.5, 1.5]) * np.pi
    for place in places + canvas.random.normal(0, 0.6, places.shape):
        scale = canvas.random.uniform(0.85, 1.1)
        angle = heading + canvas.random.normal(0, 0.15)
        canvas.block(turned(outline * scale, angle) + place, 2, canvas.shade((244, 246, 248), 3))
        tail = np.array([(-9.0, 0.4), (-5.5, 0.4), (-5.5, -0.4), (-9.0, -0.4)]) * scale
        canvas.polygon(turned(tail, angle) + place, canvas.pick(CONTAINER_COLOURS))
        engines = turned(np.array([(0.6, 3.6), (0.6, -3.6)]) * scale, angle) + place
        for engine in engines:
            canvas.polygon(rectangle(engine, 2.4, 1.2, angle), (110, 114, 122))


def cars(canvas: Canvas, strength: float) -> None:
    """Draw parked cars in rows, with the bays marked."""
    for place in canvas.lattice(canvas.count(strength, 80), 4.2, 10, 2.3):
        bay = rectangle(place, 3.9, 7.2, canvas.angle)
        canvas.polygon(bay, (86, 88, 94))
        canvas.line(bay[1:3], 0.4, WHITE)
        if canvas.random.random() < 0.85:
            body = canvas.pick(CARS)
            canvas.block(rectangle(place, 2.6, 5.4, canvas.angle), 0.8, body)
            canvas.polygon(rectangle(place, 2.2, 2.2, canvas.angle), (40, 46, 56))


def boats(canvas: Canvas, strength: float) -> None:
    """Draw boats with white hulls and brown decks, some under way with a wake."""
    hull = np.array([(6, 0), (3.5, 1.7), (-4.5, 1.9), (-5, 0), (-4.5, -1.9), (3.5, -1.7)])
    for place in canvas.scatter(canvas.count(strength, 13), 4.6, afloat=True):
        angle = canvas.angle + canvas.random.normal(0, 0.4) + canvas.random.choice([0, np.pi])
        scale = canvas.random.uniform(0.8, 1.15)
        if canvas.random.random() < 0.35:
            wake = np.array([(-4.0, 0.8), (-12.0, 2.6), (-9.0, 0.0), (-12.0, -2.6), (-4.0, -0.8)])
            canvas.polygon(turned(wake * scale, angle) + place, (236, 244, 248), 150)
        canvas.block(turned(hull * scale, angle) + place, 1, canvas.shade((244, 244, 240), 4))
        canvas.polygon(turned(hull * 0.62 * scale, angle) + place, canvas.pick(((160, 110, 70), (140, 96, 66), (60, 90, 130))))
        canvas.polygon(rectangle(place, 2.6 * scale, 1.6 * scale, angle), (248, 248, 248))


def trees(canvas: Canvas, strength: float) -> None:
    """Draw tree crowns, dark below and light towards the sun."""
    for place in canvas.scatter(canvas.count(strength, 120), 2.5):
        radius = canvas.random.uniform(2.6, 4.4)
        crown = canvas.pick(CROWNS, 7)
        canvas.disc(place + canvas.shadow * radius * 0.7, radius, (8, 14, 16), 95)
        canvas.disc(place, radius, crown)
        for lobe, tone in ((0.25, 14), (0.42, 30)):
            wobble = canvas.random.normal(0, 0.3, 2)
            canvas.disc(place - canvas.shadow * radius * lobe + wobble, radius * (0.8 - lobe), canvas.shade(crown, 4, tone))


# Lines first, then large things, then small ones, so that each finds room.
DRAWERS: dict[str, Callable[[Canvas, float], None]] = {
    "runway": runways,
    "railway": railways,
    "road": roads,
    "sports field": sports_fields,
    "large building": halls,
    "round tank": tanks,
    "aircraft": aircraft,
    "crops in rows": fields,
    "solar panels": solar_panels,
    "containers": containers,
    "swimming pool": pools,
    "house": houses,
    "parked cars": cars,
    "boat": boats,
    "tree": trees,
}
