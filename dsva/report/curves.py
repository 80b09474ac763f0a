"""The charts of a run's page: training, seen against unseen, confusions, classes, attributes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsva.evaluation.metrics import Curve, Decisions, curve, harmonic
from dsva.evaluation.results import HEADS, ClassCount, Results
from dsva.files import read_lines
from dsva.report.charts import Bars, Drawing, Line, bar_chart, line_chart, matrix

Chart = tuple[Drawing, str]  # and its caption

GROUPS = {
    "loss/": "Loss terms, weighted; total is their sum.",
    "validation/": "Figures on the validation classes.",
    "lr/": "Learning rate.",
    "gradient_norm": "Norm of the gradient before clipping.",
    "images_per_second": "Images per second, all processes together.",
}


def training_charts(metrics: Path) -> list[Chart]:
    """Draw metrics.jsonl, a chart for each kind of figure that it holds."""
    entries = read_lines(metrics)
    charts = []
    for prefix, caption in GROUPS.items():
        names = dict.fromkeys(name for entry in entries for name in entry if name.startswith(prefix))
        lines = [
            Line(name.removeprefix(prefix) or prefix, [(entry["step"], entry[name]) for entry in entries if name in entry])
            for name in names
        ]
        if lines:
            charts.append((line_chart(caption, lines, "step", ""), caption))
    return charts


def seen_unseen_charts(results: Results, decisions: Mapping[str, Decisions]) -> Iterator[Chart]:
    """Draw S against U for every source of scores, then S, U and H over gamma for each."""
    curves = {source: curve(decisions[source]) for source in results.heads}
    against, over = [], []
    for source, steps in curves.items():
        measured = results.heads[source].gzsl
        if measured is None:
            return
        point = (100 * measured.unseen, 100 * measured.seen)
        text = f"{source} at gamma {measured.gamma:.4g}: H {100 * measured.harmonic:.1f} %"
        name = f"{source}, AUSUC {100 * measured.ausuc:.1f} %"
        against.append(Line(name, list(zip(100 * steps.unseen, 100 * steps.seen, strict=True)), [(point, text)]))
        over.append(_over_gamma(source, steps, measured.gamma))
    caption = "Seen against unseen accuracy (percent) while gamma rises; the dots are at the gamma that was used."
    yield line_chart(caption, against, "U: unseen classes", "S: seen classes", limits=(0, 100)), caption
    yield from over


def _over_gamma(source: str, steps: Curve, gamma: float) -> Chart:
    # Steps: constant up to the first break, between breaks and beyond the last one; there may be none.
    low, high = float(steps.breaks.min(initial=gamma)), float(steps.breaks.max(initial=gamma))
    at = [low, *np.repeat(steps.breaks, 2).tolist(), high]
    seen, unseen = 100 * steps.seen, 100 * steps.unseen
    used = np.searchsorted(steps.breaks, gamma, side="left")
    lines = []
    for name, values in {"S": seen, "U": unseen, "H": harmonic(seen, unseen)}.items():
        here = float(values[used])
        points = list(zip(at, np.repeat(values, 2).tolist(), strict=True))
        lines.append(Line(name, points, [((gamma, here), f"{name} {here:.1f} %")]))
    caption = f"Scores by {source}: S, U and H (percent) over gamma; the dots are at the gamma that was used, {gamma:.4g}."
    return line_chart(caption, lines, "gamma", ""), caption


def confusion_charts(results: Results, decisions: Mapping[str, Decisions], source: str) -> Iterator[Chart]:
    """Draw the confusions among the unseen classes, and among all where there are seen test images."""
    decided, n_seen = decisions[source], len(results.seen)
    caption = f"Unseen classes among themselves, {source} head: true class by row, predicted by column."
    yield matrix(caption, results.unseen, _shares(decided.zsl()[n_seen:, n_seen:]), 0), caption
    measured = results.heads[source].gzsl
    if measured:
        caption = f"All classes, {source} head, gamma {measured.gamma:.4g}; the line parts seen from unseen classes."
        yield matrix(caption, (*results.seen, *results.unseen), _shares(decided.gzsl(measured.gamma)), n_seen), caption


def _shares(counts: NDArray[np.int64]) -> list[list[float]]:
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    shares: list[list[float]] = (100 * counts / total).tolist()
    return shares


def class_charts(results: Results) -> Iterator[Chart]:
    """Draw each class's share of recognised images by both heads: unseen classes among themselves, then all among all."""
    heads = {name: results.heads[name] for name in HEADS}
    caption = "Unseen classes among themselves: share of each class's images that is recognised, percent."
    yield _class_bars(caption, results.unseen, {name: head.zsl_classes for name, head in heads.items()}), caption
    among_all = {name: head.gzsl.classes for name, head in heads.items() if head.gzsl}
    if among_all:
        caption = "All classes are candidates, unseen ones first: share of each class's images that is recognised, percent."
        yield _class_bars(caption, (*results.unseen, *results.seen), among_all), caption


def _class_bars(caption: str, names: Sequence[str], counts: Mapping[str, Sequence[ClassCount]]) -> Drawing:
    bars = []
    for source, counted in counts.items():
        shares = {count.name: 100 * count.correct / count.total for count in counted}
        bars.append(Bars(source, [shares.get(name) for name in names]))
    return bar_chart(caption, names, bars, 0, 100)


def attribute_charts(names: Sequence[str], unseen: Sequence[float | None], seen: Sequence[float | None]) -> list[Chart]:
    """Draw each attribute's correlation of predicted with class strengths, the best on unseen classes first."""
    known = [-2.0 if value is None else value for value in unseen]
    order = sorted(range(len(names)), key=lambda place: -known[place])
    bars = [Bars("unseen classes", [unseen[place] for place in order])]
    if any(value is not None for value in seen):
        bars.append(Bars("seen classes", [seen[place] for place in order]))
    caption = (
        "Attributes by the prototype head: correlation, over test images with as many of each class, of what is predicted with "
        "the class's strength. Attributes whose strength is the same in all these classes have no bar."
    )
    return [(bar_chart(caption, [names[place] for place in order], bars, -1, 1), caption)]


def correlations(predicted: NDArray[np.floating], wanted: NDArray[np.floating]) -> list[float | None]:
    """Return Pearson's correlation of each column of [N, K] arrays; None where one of the two does not vary."""
    a, b = (values - values.mean(0) for values in (predicted.astype(np.float64), wanted.astype(np.float64)))
    lengths = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    products = (a * b).sum(0)
    return [float(product / length) if length > 1e-9 else None for product, length in zip(products, lengths, strict=True)]
