"""Figures of results and their intervals, worked out by hand from a few images."""

import json
from pathlib import Path

import numpy as np
import pytest

from dsva.evaluation.bootstrap import intervals
from dsva.evaluation.metrics import Curve, Decisions
from dsva.evaluation.paper_protocol import optimism
from dsva.evaluation.results import Gzsl, Head, measure
from shards.hashing import BOOTSTRAP, uniform

CLASSES = ("a", "b", "c", "d", "e")  # the first three are seen; of b there is no test image
LABELS = np.array([0, 0, 0, 2, 3, 3, 3, 3, 4, 4])
SEEN = np.array([0, 0, 1, 2, 0, 1, 2, 0, 1, 2])
UNSEEN = np.array([3, 4, 3, 4, 3, 3, 3, 4, 4, 3])
# A seen class is chosen up to these gammas, the gamma itself included.
BREAKS = np.array([0.5, -1, 2, 1, -2, 0.5, 1, 3, 0, -1])
DECIDED = Decisions(3, 5, LABELS, SEEN, UNSEEN, BREAKS)
GAMMA = 0.5


def test_figures_of_a_head() -> None:
    head = measure(DECIDED, CLASSES, GAMMA, "given")
    # Among the unseen classes alone: three of four d, one of two e.
    assert head.zsl == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert [(c.name, c.correct, c.total) for c in head.zsl_classes] == [("d", 3, 4), ("e", 1, 2)]
    assert head.gzsl is not None
    # Among all at 0.5: of a the first (its break is 0.5), of c the only one, of d the first, of e the first.
    assert [(c.name, c.correct, c.total) for c in head.gzsl.classes] == [("a", 1, 3), ("c", 1, 1), ("d", 1, 4), ("e", 1, 2)]
    seen, unseen = (1 / 3 + 1) / 2, (1 / 4 + 1 / 2) / 2
    assert (head.gzsl.gamma, head.gzsl.gamma_source) == (GAMMA, "given")
    assert (head.gzsl.seen, head.gzsl.unseen) == pytest.approx((seen, unseen))
    assert head.gzsl.harmonic == pytest.approx(2 * seen * unseen / (seen + unseen))
    # Between 0.5 and 1 the second d is right too, and the first a no more.
    assert head.gzsl.best_gamma == 0.75
    assert head.gzsl.best_harmonic == pytest.approx(2 * 0.5 * 0.5)
    # Right unseen images come at -2 (1/8), 0 (1/4), 0.5 (1/8, as a falls by 1/6), 1 (1/8, as c falls by 1/2); a fell by 1/6 at -1.
    area = 1 / 8 * 5 / 6 + 1 / 4 * 4 / 6 + 1 / 8 * (4 / 6 + 3 / 6) / 2 + 1 / 8 * (3 / 6 + 0) / 2
    assert head.gzsl.ausuc == pytest.approx(area)


def test_the_best_gamma_is_the_middle_of_the_lowest_of_equally_good_intervals() -> None:
    # H is 0, 2/3, 2/3, 0 in the four intervals.
    steps = Curve(np.array([1.0, 3.0, 4.0]), np.array([1, 1, 0.5, 0]), np.array([0, 0.5, 1, 1]))
    assert steps.best() == pytest.approx((2, 2 / 3))


def quantiles(values: list[float]) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles, between the two nearest values in proportion."""
    ordered = sorted(values)
    ends = []
    for share in (0.025, 0.975):
        place = share * (len(ordered) - 1)
        low = ordered[int(place)]
        ends.append(low + (place - int(place)) * (ordered[min(int(place) + 1, len(ordered) - 1)] - low))
    return ends[0], ends[1]


def test_intervals_are_those_of_a_thousand_replicates_one_by_one() -> None:
    alone = LABELS == UNSEEN
    among_all = np.where(BREAKS >= GAMMA, SEEN, UNSEEN) == LABELS
    figures: dict[str, list[list[float]]] = {"images": [], "classes": []}
    for replicate in range(1000):
        shares: dict[int, tuple[float, float]] = {}
        for label in (0, 2, 3, 4):
            mine = np.flatnonzero(label == LABELS)
            slots = (uniform(BOOTSTRAP, 0, replicate, label, np.arange(len(mine))) * len(mine)).astype(int)
            shares[label] = float(alone[mine[slots]].mean()), float(among_all[mine[slots]].mean())
        draws = [(uniform(BOOTSTRAP, stream, replicate, np.arange(2)) * 2).astype(int) for stream in (1, 2)]
        for kind, seen, unseen in (
            ("images", [0, 2], [3, 4]),
            ("classes", [(0, 2)[draw] for draw in draws[0]], [(3, 4)[draw] for draw in draws[1]]),
        ):
            zsl = sum(shares[label][0] for label in unseen) / 2
            s, u = (sum(shares[label][1] for label in side) / 2 for side in (seen, unseen))
            figures[kind].append([zsl, s, u, 2 * s * u / (s + u) if s + u else 0])
    for found, kind in zip(intervals({"head": DECIDED}, {"head": GAMMA})["head"], ("images", "classes"), strict=True):
        for name, values in zip(("zsl", "seen", "unseen", "harmonic"), zip(*figures[kind], strict=True), strict=True):
            interval = getattr(found, name)
            assert (interval.low, interval.high) == pytest.approx(quantiles(list(values)), abs=1e-12), (kind, name)


def test_the_best_step_on_the_test_classes_is_the_earliest_of_the_highest(tmp_path: Path) -> None:
    zsl, harmonic = {2: 0.25, 4: 0.75, 6: 0.75, 8: 0.5}, {2: 0.5, 4: 0.25, 6: 0.5, 8: 0.375}
    lines = [{"step": s, "validation/main/zsl": zsl[s], "validation/main/harmonic": harmonic[s]} for s in zsl]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    sides = {"seen": 0.5, "unseen": 0.25, "ausuc": 0.125, "best_gamma": 0.0, "best_harmonic": 0.375}
    gzsl = Gzsl(gamma=0.0, gamma_source="given", harmonic=0.3125, classes=(), **sides)
    found = optimism(tmp_path / "metrics.jsonl", {"main": Head(zsl=0.5, zsl_classes=(), gzsl=gzsl)})["main"]
    assert (found.zsl_step, found.zsl, found.zsl_gain) == (4, 0.75, 0.25)
    assert (found.harmonic_step, found.harmonic, found.harmonic_gain) == (2, 0.5, 0.1875)
