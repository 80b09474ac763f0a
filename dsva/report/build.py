"""One HTML page of a run: its table, its pictures, what the model looked at, and where the figures come from."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsva.evaluation.decisions_file import DecisionsFile
from dsva.evaluation.results import Provenance, Results
from dsva.evaluation.tables import per_class, summary
from dsva.inference.candidates import candidates
from dsva.inference.classifier import device
from dsva.inference.explain import Explanation
from dsva.inference.trained_run import Trained
from dsva.inference.viewer import Viewer
from dsva.report.curves import (
    Chart,
    attribute_charts,
    class_charts,
    confusion_charts,
    correlations,
    seen_unseen_charts,
    training_charts,
)
from dsva.report.explained import explained
from dsva.report.overlays import Pixels
from dsva.report.page import Charts, Decision, Facts, Gallery, Section, TableSection, write_page
from dsva.report.panels import panel
from dsva.report.published import published
from dsva.run_directory import DECISIONS, ENVIRONMENT, METRICS, PAGE, RESULTS, STARTS
from dsva.runs.checkpoint import Chosen, with_sha256
from dsva.settings import as_override
from dsva.train.stragglers import slowest_table
from shards.errors import UserError
from shards.hashing import GALLERY, hashes
from shards.order import Ids
from shards.user_images import Unused

GALLERY_NOTE = (
    "Test images of unseen classes, each classified among the unseen classes by the prototype head. The maps show where the "
    "prototypes of the attributes that decided match best. The bars show how much each attribute speaks for the chosen class "
    "against its rival (the true class, or the second best): all together they are exactly the difference of the two scores. "
    "The dots show the image's attributes, the strokes those of the two classes."
)
QUALITY_IMAGES = 24  # of each class

_Explained = tuple[Explanation, Pixels]


def write_report(folder: Path, images_per_class: int = 4) -> Path:
    """Write the page of a run that has been scored; return its path.

    Args:
        folder: of the run.
        images_per_class: of each unseen class in the gallery, half right answers and half wrong ones as far as there are any.

    Raises:
        UserError: no run, no checkpoint, no results, or results of another checkpoint.
    """
    results = Results.read(folder / RESULTS)
    decided = DecisionsFile.read(folder / DECISIONS, results).decisions
    trained = _scored(folder, results.provenance)
    decisions, quality = _looked_at(trained, images_per_class)
    times = slowest_table(folder / METRICS)
    sections: list[Section] = [
        TableSection(summary(results)),
        TableSection(published(results)),
        Gallery("Why images went to their classes", decisions, GALLERY_NOTE),
        Charts("Seen against unseen classes", tuple(seen_unseen_charts(results, decided))),
        Charts("Confusions", tuple(confusion_charts(results, decided, "proto"))),
        Charts("Classes", tuple(class_charts(results))),
        TableSection(per_class(results)),
        Charts("How well attributes are read", quality),
        Charts("Training", training_charts(folder / METRICS)),
        *([TableSection(times)] if times else []),
        Facts("Where the figures come from", _facts(results, folder)),
    ]
    counts = f"{len(results.seen)} classes were seen in training, {len(results.unseen)} were not"
    shown = [section for section in sections if not isinstance(section, Charts) or section.charts]
    title = f"Zero-shot scenes: {folder.resolve().name}"
    write_page(folder / PAGE, title, f"{counts}: those are recognised by their attributes.", shown)
    return folder / PAGE


def _scored(folder: Path, made: Provenance) -> Trained:
    """Open the run with the very weights that its results come from.

    Raises:
        UserError: they are gone or damaged.
    """

    def choose(checkpoints: Path) -> Chosen:
        found, damaged = with_sha256(checkpoints, made.checkpoint_sha256)
        if found is None:
            why = "; ".join(damaged) or f"no checkpoint in {checkpoints} is that one"
            raise UserError(
                f"{folder / RESULTS} is of the weights after step {made.checkpoint_step}, checkpoint "
                f"{made.checkpoint_sha256[:12]}, which cannot be shown beside it ({why}): put it back, or score the newest one "
                "with `dsva eval`"
            )
        return found, []

    return Trained.open(folder, (as_override("run.dir", folder),), choose)


def _looked_at(trained: Trained, images_per_class: int) -> tuple[tuple[Decision, ...], list[Chart]]:
    """Look at some test images of each class: explanations of the unseen ones, and how well attributes are read."""
    experiment = trained.experiment
    sets, table = experiment.sets, experiment.table
    viewer = Viewer.of(trained, "proto", candidates(table, sets, ("unseen",)), (0.0, "unseen classes only"), device())
    ids = _some(np.concatenate([sets.unseen_test, sets.seen_test]), sets.labels)
    predicted, met = [], defaultdict[tuple[str, bool], list[_Explained]](list)
    for seen in viewer.look([experiment.shards.key(int(sample)) for sample in ids], Unused()):
        predicted.append(viewer.classifier.attributes(seen.outputs).cpu().numpy())
        for explanation, picture in explained(viewer, seen):
            kind = met[explanation.true, explanation.predicted == explanation.true]
            if explanation.true in sets.unseen and len(kind) < images_per_class:
                kind.append((explanation, picture))
    decisions = [_drawn(*one) for name in sets.unseen for one in _mixed(met[name, True], met[name, False], images_per_class)]
    places = sets.labels[ids]
    rows, read = table.rows(sets.classes)[places], np.concatenate(predicted)
    new = places >= sets.n_seen
    of_seen = correlations(read[~new], rows[~new]) if (~new).any() else [None] * len(table.names)
    return tuple(decisions), attribute_charts(table.names, correlations(read[new], rows[new]), of_seen)


def _mixed(right: Sequence[_Explained], wrong: Sequence[_Explained], most: int) -> Sequence[_Explained]:
    """Return half right and half wrong answers, or more of the one kind where the other has fewer."""
    of_right = max(most // 2, most - len(wrong))
    return [*right[:of_right], *wrong][:most]


def _drawn(explanation: Explanation, picture: Pixels) -> Decision:
    text = f"{explanation.image}, by {', '.join(explanation.names[place] for place in explanation.deciding(3))}"
    return Decision(panel(picture, explanation), explanation.true, explanation.predicted, text)


def _some(ids: Ids, labels: NDArray[np.int64]) -> Ids:
    """Return as many of each class, chosen by hashes, class by class."""
    shuffled = ids[np.argsort(hashes(GALLERY, ids))]
    return np.concatenate([shuffled[labels[shuffled] == label][:QUALITY_IMAGES] for label in np.unique(labels[ids])])


def _facts(results: Results, folder: Path) -> dict[str, str]:
    made = results.provenance
    facts = {name.replace("_", " "): value for name, value in made.model_dump(mode="json").items() if name != "config"}
    facts |= {"protocol": results.protocol, "images": results.images, "warnings": list(results.warnings) or "none"}
    facts |= {f"{name} gamma": head.gzsl.gamma_source for name, head in results.heads.items() if head.gzsl}
    for name in (ENVIRONMENT, STARTS):
        if (folder / name).is_file():
            facts[name] = " ".join((folder / name).read_text().split())
    facts["configuration"] = made.config
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
