"""The ablation table: an experiment with and without its parts, trained and scored one after the other."""

import itertools
import logging
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsva.config import Config, load
from dsva.evaluation.results import HEADS, LEVELS, Head, Results
from dsva.evaluation.tables import protocols
from dsva.files import write_atomically
from dsva.protocol.experiment import Experiment
from dsva.protocol.image_sets import MIN_SEEN
from dsva.run_directory import RESULTS
from dsva.runs.gate import admit
from dsva.settings import as_override
from dsva.tables import Table, percent
from dsva.train.run import complete
from shards.errors import UserError

TABLE = "ablation.md"
AS_GIVEN = "as configured"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """A change of the experiment.

    Attributes:
        name: of the row, and of the folder.
        changes: overrides of the configuration.
        heads: those that still mean something.
    """

    name: str
    changes: tuple[str, ...]
    heads: tuple[str, ...] = HEADS


def variants(config: Config) -> Iterator[Variant]:
    """Yield the experiment as it is, then each variant that differs from it."""
    yield Variant(AS_GIVEN, ())
    yield (
        Variant("without regions", ("model.regions=false",))
        if config.model.regions
        else Variant("with regions", ("model.regions=true",))
    )
    if config.loss.compactness:
        yield Variant("without compactness", ("loss.compactness=0",))
    proto = ("loss.ce_proto=0", "loss.mse_proto=0", "loss.compactness=0", "loss.group_proto=0")
    yield Variant("main loss only", proto, ("main",))
    # Regions belong to the main head's scores.
    yield Variant(
        "prototype loss only", ("loss.ce_main=0", "loss.mse_main=0", "loss.group_main=0", "model.regions=false"), ("proto",)
    )
    if config.loss.mse_main or config.loss.mse_proto:
        yield Variant("without attribute errors", ("loss.mse_main=0", "loss.mse_proto=0"))
    if config.scores.kind == "cosine":
        yield Variant("dot products with raw rows", ("scores.kind=dot",))


@dataclass(frozen=True)
class Row:
    """The runs of a variant.

    Attributes:
        variant: of the experiment.
        validation: run that finds the variant's own gamma, on validation classes; None where gamma is not looked for.
        runs: one a seed.
    """

    variant: Variant
    validation: Config | None
    runs: tuple[Config, ...]

    def in_order(self) -> Iterator[tuple[str, Config]]:
        """Yield what is to be trained, with its name."""
        if self.validation:
            yield f"{self.variant.name}, validation", self.validation
        yield from ((f"{self.variant.name}, seed {config.run.seed}", config) for config in self.runs)

    def results(self) -> list[Results]:
        """Read the results of all seeds."""
        return [Results.read(config.run.dir / RESULTS) for config in self.runs]


def ablate(path: Path, overrides: Sequence[str], seeds: int) -> tuple[Table, Path]:
    """Train and score every variant below `run.dir`, continuing what lies there, and write ablation.md.

    Args:
        path: configuration file.
        overrides: of its values.
        seeds: runs of each variant, with the seeds `run.seed`, `run.seed` + 1, ...

    Returns:
        The table, and the file that it is in.

    Raises:
        UserError: a variant is no valid configuration; before any training.
        StoppedError: a signal came, and the run that it came in is saved.
    """
    rows = planned(path, overrides, seeds)
    for name, config in itertools.chain.from_iterable(row.in_order() for row in rows):
        if finished(config):
            log.info("%s: finished before", name)
            continue
        log.info(name)
        complete(config)
    made, target = table([(row.variant, row.results()) for row in rows]), load(path, overrides).run.dir / TABLE
    write_atomically(target, made.markdown())
    return made, target


def planned(path: Path, overrides: Sequence[str], seeds: int) -> list[Row]:
    """Return the runs of all variants, checked; see `ablate`.

    Where gamma is needed and not given, each variant has a run on validation classes that finds it: a gamma says
    something about the scores it was found with and no others.
    """
    base = load(path, overrides)
    if base.eval.validation_run:
        raise UserError("each variant finds its own gamma on validation classes: leave eval.validation_run out, or give eval.gamma")
    seen = len(Experiment.open(base).split.seen)
    honest = base.eval.protocol == "honest" and base.validation.partition is None
    validated = honest and base.eval.gamma is None and base.classes.seen_test_share > 0
    if validated and seen < MIN_SEEN:
        raise UserError(f"{seen} seen classes are too few to find gamma on a third of them: give eval.gamma, such as eval.gamma=0")
    rows = [_row(path, overrides, base, variant, seeds, validated) for variant in variants(base)]
    for row in rows:
        for config in (row.runs[0], *([row.validation] if row.validation else ())):
            Experiment.open(config)
        for _, config in row.in_order():
            admit(config.run.dir, config)
    return rows


def _row(path: Path, overrides: Sequence[str], base: Config, variant: Variant, seeds: int, validated: bool) -> Row:
    folder = base.run.dir / variant.name.replace(" ", "_")
    given = (*overrides, *variant.changes)
    validation = folder / "validation"
    gamma = (as_override("eval.validation_run", validation),) if validated else ()
    numbers = range(base.run.seed, base.run.seed + seeds)
    places = ((f"run.seed={seed}", as_override("run.dir", folder / f"seed_{seed}")) for seed in numbers)
    runs = tuple(load(path, (*given, *gamma, *place)) for place in places)
    tried = (*given, "validation.partition=0", as_override("run.dir", validation))
    return Row(variant, load(path, tried) if validated else None, runs)


def finished(config: Config) -> bool:
    """Tell whether the run of this very configuration has the results of its last step already."""
    try:
        results = Results.read(config.run.dir / RESULTS)
    except UserError:
        return False
    provenance = results.provenance
    return provenance.config == config.model_dump(mode="json") and provenance.checkpoint_step == config.train.steps


def table(rows: Sequence[tuple[Variant, Sequence[Results]]]) -> Table:
    """Return a row for each variant and head, then the baselines of the experiment as it was configured.

    With several seeds a cell is the mean and the standard deviation (n - 1).
    """
    _, given = rows[0]
    whole = {head: _mean([results.heads[head].zsl for results in given]) for head in HEADS}
    cells = []
    for variant, found in rows:
        for head in variant.heads:
            figures = _figures([results.heads[head] for results in found])
            change = 100 * (_mean([results.heads[head].zsl for results in found]) - whole[head])
            cells.append([f"{variant.name}, {head} head", *figures, "" if variant.name == AS_GIVEN else f"{change:+.1f}"])
    for source in given[0].heads:
        if source not in HEADS:
            cells.append(
                [f"baseline: {source}", *_figures([results.heads[source] for results in given if source in results.heads]), ""]
            )
    levels = [percent(given[0].chance[name]) for name in LEVELS]
    cells.append(["chance", *levels, ""])
    first = given[0]
    seeds = [str(results.provenance.seed) for results in given]
    note = (
        f"Percent, per-class mean top-1, {len(first.seen)} seen and {len(first.unseen)} unseen classes, "
        f"seeds {', '.join(seeds)}{'; mean and standard deviation' if len(seeds) > 1 else ''}."
        f"{_gamma(first)}{protocols(given)}"
    )
    title = f"Ablations on {first.provenance.split}, step {first.provenance.checkpoint_step}"
    return Table(title, ("variant", "ZSL", "S", "U", "H", "AUSUC", "change of ZSL"), cells, note)


def _gamma(results: Results) -> str:
    gzsl = results.heads[HEADS[0]].gzsl
    if gzsl is None:
        return ""
    own = results.provenance.config["eval"]["validation_run"]
    return f" Gamma: {'each variant has it from its own run on validation classes' if own else gzsl.gamma_source}."


def _figures(heads: Sequence[Head]) -> list[str]:
    columns = [[head.zsl for head in heads]]
    measured = [head.gzsl for head in heads if head.gzsl]
    for name in ("seen", "unseen", "harmonic", "ausuc"):
        columns.append([getattr(gzsl, name) for gzsl in measured])
    return [_cell(values) for values in columns]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {percent(statistics.stdev(values))}" if len(values) > 1 else ""
    return percent(_mean(values)) + spread


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
