"""Charts as SVG inside the page: they take its colours, in the light and in the dark, and their text can be searched."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from dsva.pictures.lettering import columns, short
from dsva.report.svg import element

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 44
MAX_POINTS = 400  # of a line: more cannot be told apart
ROW = 17  # height of a row of a bar chart or a matrix
LARGEST = 1e300  # values that are drawn: the differences of larger ones are not finite
SERIES = 6  # colours there are, see the style sheet

WIDE = 700  # a drawing that is wider takes the width of the page

Point = tuple[float, float]


class Drawing(NamedTuple):
    """An `svg` element, and its width in pixels."""

    svg: Markup
    width: float

    @property
    def wide(self) -> bool:
        """Whether it takes the width of the page."""
        return self.width > WIDE


@dataclass(frozen=True)
class Line:
    """A named line; `marks` are points on it that stand out, with the text that says what they are."""

    name: str
    points: Sequence[Point]
    marks: Sequence[tuple[Point, str]] = ()

    def drawable(self) -> "Line":
        """Return the line without points that have no place on a scale."""
        return Line(self.name, [at for at in self.points if _placed(at)], [mark for mark in self.marks if _placed(mark[0])])


@dataclass(frozen=True)
class Bars:
    """A named value in each row of a bar chart; None leaves the row without."""

    name: str
    values: Sequence[float | None]


def line_chart(
    description: str, lines: Sequence[Line], x_name: str, y_name: str, *, limits: tuple[float, float] | None = None
) -> Drawing:
    """Draw lines over common axes, with a legend where there are several.

    Args:
        description: of the picture, for those who do not see it.
        lines: in the order they are connected; points that are not finite are left out.
        x_name: what the x axis is.
        y_name: what the y axis is.
        limits: of both axes' values; none fits them to the points.
    """
    lines = [line.drawable() for line in lines]
    points = [point for line in lines for point in line.points]
    x = _Scale.over([point[0] for point in points], limits, LEFT, WIDTH - RIGHT)
    y = _Scale.over([point[1] for point in points], limits, HEIGHT - BOTTOM, TOP)
    parts = [*_axes(x, y, x_name, y_name)]
    for place, line in enumerate(lines):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in _thinned(line.points))
        parts.append(element("polyline", class_=f"line s{place % SERIES}", points=path))
        for (a, b), text in line.marks:
            parts.append(element("circle", _tip(text), class_=f"mark s{place % SERIES}", cx=x(a), cy=y(b), r=5))
    legend = _legend([line.name for line in lines])
    return _svg(description, WIDTH, HEIGHT + (ROW * len(lines) if legend else 0), [*parts, *legend])


def bar_chart(description: str, rows: Sequence[str], bars: Sequence[Bars], low: float, high: float) -> Drawing:
    """Draw horizontal bars from 0, in each row one of every series, between `low` and `high`."""
    names = [short(name, 30) for name in rows]
    left = _beside(names)
    scale, part = _Scale(low, high, left, WIDTH - RIGHT), (ROW - 4) / len(bars)
    bottom = TOP + ROW * len(rows)
    parts = [*_grid(scale, TOP, bottom)]
    for row, name in enumerate(rows):
        top = TOP + ROW * row
        parts.append(element("text", names[row], class_="end", x=left - 6, y=top + 12))
        for place, series in enumerate(bars):
            value = series.values[row]
            if value is not None:
                start, end = sorted((scale(0), scale(value)))
                tip = _tip(f"{name}, {series.name}: {value:.3g}")
                box = {"x": start, "y": top + 2 + place * part, "width": max(end - start, 1.0), "height": part}
                parts.append(element("rect", tip, class_=f"bar s{place}", **box))
    legend = _legend([series.name for series in bars], bottom + 22)
    return _svg(description, WIDTH, bottom + 26 + ROW * len(legend) // 2, [*parts, *legend])


def matrix(description: str, names: Sequence[str], shares: Sequence[Sequence[float]], line_at: int) -> Drawing:
    """Draw a square matrix of percentages, a row a true class; a line parts the first `line_at` classes from the others."""
    shown = [short(name, 24) for name in names]
    left, size = _beside(shown), ROW * len(names)
    parts = [element("rect", class_="ground", x=left, y=left, width=size, height=size)]
    for row, name in enumerate(names):
        middle = left + ROW * row + 12
        parts.append(element("text", shown[row], class_="end", x=left - 6, y=middle))
        parts.append(element("text", shown[row], transform=f"translate({middle:.1f} {left - 6:.1f}) rotate(-90)"))
        for column, share in enumerate(shares[row]):
            if share > 0:
                tip = _tip(f"{name} taken for {names[column]}: {share:.1f} %")
                box = {"x": left + ROW * column, "y": left + ROW * row, "width": 16, "height": 16}
                opacity = f"{math.sqrt(share / 100):.2f}"  # the root lets rare confusions show
                parts.append(element("rect", tip, class_="cell", **box, opacity=opacity))
    if 0 < line_at < len(names):
        at, end = left + ROW * line_at - 0.5, left + size
        parts.append(element("path", class_="part", d=f"M{left:.1f} {at:.1f}H{end:.1f}M{at:.1f} {left:.1f}V{end:.1f}"))
    side = math.ceil(left + size + 6)
    return _svg(description, side, side, parts)


@dataclass(frozen=True)
class _Scale:
    """Values to places on the paper."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], limits: tuple[float, float] | None, start: float, end: float) -> "_Scale":
        low, high = limits or (min(values, default=0.0), max(values, default=0.0))
        size = max(abs(low), abs(high))
        if high - low <= max(1e-9 * size, 1 / LARGEST):  # no place for ticks between them that could be told apart
            low, high = low - max(0.5, size / 4), high + max(0.5, size / 4)
        return cls(low, high, start, end)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return about five round values inside."""
        raw = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
        first = math.ceil(self.low / step - 1e-9)
        return [step * place for place in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _axes(x: _Scale, y: _Scale, x_name: str, y_name: str) -> Iterator[Markup]:
    yield from _grid(x, TOP, HEIGHT - BOTTOM)
    for tick in y.ticks():
        yield element("path", class_="rule", d=f"M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}")
        yield element("text", f"{tick:.4g}", class_="end", x=LEFT - 6, y=y(tick) + 4)
    yield element("text", x_name, class_="end", x=WIDTH - RIGHT, y=HEIGHT - 8)
    yield element("text", y_name, transform=f"translate(13 {TOP + 4}) rotate(-90)", class_="end")


def _grid(x: _Scale, top: float, bottom: float) -> Iterator[Markup]:
    for tick in x.ticks():
        yield element("path", class_="rule", d=f"M{x(tick):.1f} {top}V{bottom}")
        yield element("text", f"{tick:.4g}", class_="middle", x=x(tick), y=bottom + 14)


def _legend(names: Sequence[str], top: float = HEIGHT) -> list[Markup]:
    """Return two elements a name, or none for a single name."""
    entries = []
    for place, name in enumerate(names if len(names) > 1 else ()):
        y = float(top + ROW * place)
        entries.append(element("rect", class_=f"bar s{place % SERIES}", x=LEFT, y=y, width=16, height=8))
        entries.append(element("text", name, x=LEFT + 24, y=y + 8))
    return entries


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    if len(points) <= MAX_POINTS:
        return points
    places = [round(place * (len(points) - 1) / (MAX_POINTS - 1)) for place in range(MAX_POINTS)]
    return [points[place] for place in places]


def _placed(point: Point) -> bool:
    return all(abs(value) <= LARGEST for value in point)


def _beside(names: Sequence[str]) -> float:
    """Return the width of the room for names at the side."""
    return 12.0 + 7 * max(map(columns, names), default=0)


def _tip(text: str) -> Markup:
    return element("title", text)


def _svg(description: str, width: float, height: float, parts: Sequence[Markup]) -> Drawing:
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    return Drawing(element("svg", *parts, role="img", **size, aria_label=description), width)
