"""Scoring a model on the test images of an experiment, on all ranks."""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dsva.config import EvalConfig
from dsva.evaluation.bootstrap import intervals
from dsva.evaluation.decisions_file import DecisionsFile
from dsva.evaluation.gamma import choose_gamma, validation_runs
from dsva.evaluation.metrics import Decisions, concatenate, curve, decide
from dsva.evaluation.paper_protocol import optimism
from dsva.evaluation.rank_batches import Between, shared
from dsva.evaluation.results import HEADS, NO_WEIGHTS, Provenance, Results, measure, provenance
from dsva.evaluation.tables import confidence, per_class, spent, summary
from dsva.files import NoRoomError, write_atomically
from dsva.model.dsva import DSVA
from dsva.model.losses import main_scores
from dsva.model.scores import ClassRows
from dsva.pixels import eval_pixels
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.run_directory import DECISIONS, ENVIRONMENT, METRICS, RESULTS
from dsva.tables import Table
from dsva.usage import summed_up
from shards.loader import Batch
from shards.order import Ids

TABLES = (summary, confidence, per_class)
log = logging.getLogger(__name__)


def evaluate(experiment: Experiment, model: DSVA, ranks: Ranks, between: Between = lambda: None) -> dict[str, Decisions]:
    """Decide on every test image with both heads; every rank calls this and gets all decisions.

    Args:
        experiment: the images.
        model: on this rank's device.
        ranks: all processes.
        between: see `dsva.evaluation.rank_batches`.

    Returns:
        By head, decisions in the order of the sample ids.
    """
    sets, rows = experiment.sets, experiment.class_rows(ranks.device)
    ids = np.concatenate([sets.seen_test, sets.unseen_test])
    model.eval()
    try:
        mine = [_decide(experiment, model, rows, batch) for batch in shared(experiment, ids, ranks, between)]
    finally:
        model.train()
    gathered = [part for parts in ranks.all_gather(mine) for part in parts]
    placed = np.argsort(np.concatenate([ids for ids, _ in gathered]))
    return {head: concatenate([decisions[head] for _, decisions in gathered], placed) for head in HEADS}


@torch.no_grad()
def _decide(experiment: Experiment, model: DSVA, rows: ClassRows, batch: Batch) -> tuple[Ids, dict[str, Decisions]]:
    config, sets, device = experiment.config, experiment.sets, rows.values.device
    pixels = eval_pixels(torch.from_numpy(batch.images).to(device), config.data)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.train.precision == "bf16"):
        outputs = model(pixels, regions=config.model.regions)
    scores = {"proto": rows.scores(outputs.proto), "main": main_scores(outputs, rows, config.model.region_weight)}
    labels = sets.labels[batch.ids]
    return batch.ids, {head: decide(_comparable(experiment, scores[head]), labels, sets.n_seen) for head in HEADS}


def _comparable(experiment: Experiment, scores: Tensor) -> np.ndarray:
    # The published code subtracts gamma from probabilities; everywhere else it is subtracted from the scores.
    compared = scores.softmax(1) if experiment.config.scores.double_softmax else scores
    return compared.float().cpu().numpy()


def check_gamma(experiment: Experiment) -> None:
    """Raise a UserError where `report` would find no gamma: before a run is trained rather than after."""
    made = provenance(experiment, NO_WEIGHTS, "")
    for head in HEADS:
        choose_gamma(experiment.config.eval, head, made)


def report(experiment: Experiment, decisions: dict[str, Decisions], made: Provenance) -> Results:
    """Measure the decisions of heads and baselines; write results.json, decisions, tables and pictures."""
    config, sets, folder = experiment.config, experiment.sets, experiment.config.run.dir
    gammas = {source: _gamma(config.eval, source, made) for source in decisions}
    measured = {source: measure(decided, sets.classes, *gammas[source]) for source, decided in decisions.items()}
    for source, (over_images, over_classes) in intervals(decisions, {name: gamma for name, (gamma, _) in gammas.items()}).items():
        measured[source] = measured[source].model_copy(update={"over_images": over_images, "over_classes": over_classes})
    made = made.model_copy(update={"cost": summed_up(folder / METRICS, folder / ENVIRONMENT)})
    results = Results.of(experiment, measured, made)
    if results.protocol == "paper":
        results = results.model_copy(update={"optimism": optimism(folder / METRICS, {head: measured[head] for head in HEADS})})
    ids = np.sort(np.concatenate([sets.seen_test, sets.unseen_test]))
    DecisionsFile(ids, decisions, made.checkpoint_sha256).write(folder / DECISIONS)
    write_atomically(folder / "results.md", "\n".join(table(results).markdown() for table in TABLES))
    results.write(folder / RESULTS)  # last of the figures: it says that all are there
    for name, draw in _pictures(experiment, decisions, {name: gamma for name, (gamma, _) in gammas.items()}):
        _draw(folder / name, draw)
    return results


def told(run: Path) -> list[Table | str]:
    """Return what a command answers when a run is scored."""
    results = Results.read(run / RESULTS)
    cost = results.provenance.cost
    written = f"written: {run / RESULTS}, results.md and pictures beside it"
    return [*(table(results) for table in TABLES[:2]), *([spent(cost)] if cost else []), written]


def _pictures(
    experiment: Experiment, decisions: Mapping[str, Decisions], gammas: Mapping[str, float]
) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield the names of the pictures, and what draws each."""
    from dsva.evaluation.plots import draw_confusion, draw_curve  # noqa: PLC0415 (slow, and most ranks and starts draw nothing)

    sets = experiment.sets
    for head in HEADS:
        counts = decisions[head].zsl()[sets.n_seen :, sets.n_seen :]
        drawn = partial(draw_confusion, counts=counts, classes=sets.unseen, n_seen=0, title=f"ZSL, {head} head")
        yield f"confusion_zsl_{head}.png", drawn
    if not len(sets.seen_test):
        return
    for head in HEADS:
        counts = decisions[head].gzsl(gammas[head])
        drawn = partial(draw_confusion, counts=counts, classes=sets.classes, n_seen=sets.n_seen, title=f"GZSL, {head} head")
        yield f"confusion_gzsl_{head}.png", drawn
    curves = {head: (curve(decisions[head]), gammas[head]) for head in HEADS}
    yield "seen_unseen.png", partial(draw_curve, curves=curves, title=f"{experiment.split.name}: seen against unseen over gamma")


def _draw(path: Path, draw: Callable[[Path], None]) -> None:
    """Draw a picture in place of an older one. The figures are written by now: without it, nothing is lost but a picture.

    Raises:
        NoRoomError: there is no room for it, which is no fault of the picture.
    """
    try:
        path.unlink(missing_ok=True)
        draw(path)
    except NoRoomError:
        raise
    except Exception as error:  # whatever names and numbers make the drawing library trip over
        why = f"{type(error).__name__}: {error}"
        log.warning("%s could not be drawn (%s): the figures are whole, `dsva eval` draws it again", path, why)


def _gamma(config: EvalConfig, source: str, made: Provenance) -> tuple[float, str]:
    """Choose gamma; a baseline that the validation run could not have is scored at 0, and says so."""
    from_run = config.validation_run if config.gamma is None else None
    runs = validation_runs(from_run) if from_run and source not in HEADS else []
    if any(source not in Results.read(run / RESULTS).heads for run in runs):
        return 0.0, "zero: the validation run has no such scores"
    return choose_gamma(config, source, made)
