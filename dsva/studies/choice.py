"""Choosing on validation classes: a grid of values, each tried on the three partitions of the seen classes.

No image of an unseen class and no held-out image of a seen one takes part; the final run then trains on all seen
classes with what was chosen, and is tested once.
"""

import itertools
import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsva.config import Config, dump, load
from dsva.evaluation.gamma import CHOICE
from dsva.evaluation.results import Results
from dsva.files import write_atomically
from dsva.protocol.experiment import Experiment
from dsva.run_directory import RESULTS
from dsva.runs.gate import admit
from dsva.settings import as_override
from dsva.studies.ablation import finished
from dsva.tables import Table, percent
from dsva.train.run import complete
from shards.errors import UserError

CHOSEN, TABLE = "chosen.yaml", "choice.md"
PARTITIONS = (0, 1, 2)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """Values of the grid: overrides of the configuration, and one validation run for each partition."""

    changes: tuple[str, ...]
    runs: tuple[Config, ...]

    @property
    def name(self) -> str:
        """The overrides in one word."""
        return ",".join(self.changes).replace("/", "_") or "as_configured"


def choose(path: Path, overrides: Sequence[str], grid: Mapping[str, Sequence[str]], head: str) -> tuple[Table, Path]:
    """Run all points below `run.dir`, continuing what lies there; write choice.md, choice.json and chosen.yaml.

    Args:
        path: configuration file.
        overrides: of its values.
        grid: keys of the configuration and the values to try of each.
        head: whose H (or ZSL, where `classes.seen_test_share` is 0) decides, in the mean over partitions.

    Returns:
        The table of all points, and the file with the configuration of the final run.

    Raises:
        UserError: a point is no valid configuration; before any training.
        StoppedError: a signal came, and the run that it came in is saved.
    """
    base = load(path, overrides)
    if base.validation.partition is not None or base.eval.protocol != "honest":
        raise UserError(f"{path} must be the final, honest run: leave validation.partition and eval.protocol out")
    points = [_point(path, overrides, base, changes) for changes in itertools.product(*_changes(grid))]
    for each in itertools.chain.from_iterable(point.runs for point in points):
        admit(each.run.dir, each, Experiment.open(each).hashes())
    for point in points:
        for config in point.runs:
            if finished(config):
                log.info("%s: finished before", config.run.dir)
                continue
            log.info("%s, partition %d", point.name, config.validation.partition)
            complete(config)
    return _write(path, overrides, base, points, head)


def _changes(grid: Mapping[str, Sequence[str]]) -> list[list[str]]:
    return [[f"{key}={value}" for value in values] for key, values in grid.items()]


def _point(path: Path, overrides: Sequence[str], base: Config, changes: tuple[str, ...]) -> Point:
    folder = base.run.dir / Point(changes, ()).name
    places = [(f"validation.partition={part}", as_override("run.dir", folder / f"partition_{part}")) for part in PARTITIONS]
    return Point(changes, tuple(load(path, (*overrides, *changes, *place)) for place in places))


def _write(path: Path, overrides: Sequence[str], base: Config, points: Sequence[Point], head: str) -> tuple[Table, Path]:
    folder = base.run.dir
    scored = [[_score(Results.read(config.run.dir / RESULTS), head, base) for config in point.runs] for point in points]
    means = [statistics.fmean(scores) for scores in scored]
    best = points[max(range(len(points)), key=lambda place: (means[place], -place))]
    told = {"head": head, "changes": list(best.changes), "runs": [str(config.run.dir.relative_to(folder)) for config in best.runs]}
    write_atomically(folder / CHOICE, json.dumps(told, indent=1) + "\n")
    places = (as_override("eval.validation_run", folder), as_override("run.dir", folder / "final"))
    final = load(path, (*overrides, *best.changes, *places))
    write_atomically(folder / CHOSEN, dump(final))
    rows = [
        [point.name + (" (chosen)" if point is best else ""), *map(percent, scores), percent(mean)]
        for point, scores, mean in zip(points, scored, means, strict=True)
    ]
    columns = ("values", *(f"partition {part}" for part in PARTITIONS), "mean")
    figure = "H at its best gamma" if base.classes.seen_test_share else "ZSL"
    note = f"Percent: {figure} of the {head} head, on validation classes only."
    table = Table("Choice on validation classes", columns, rows, note)
    write_atomically(folder / TABLE, table.markdown())
    return table, folder / CHOSEN


def _score(results: Results, head: str, final: Config) -> float:
    measured = results.heads[head]
    assert measured.gzsl, "a validation run holds seen images out"
    return measured.gzsl.best_harmonic if final.classes.seen_test_share else measured.zsl
