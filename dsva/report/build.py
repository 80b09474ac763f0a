"""One HTML page of a run: its table, its pictures, what the model looked at, and where the figures come from."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dsva.experiment import Experiment
from dsva.report.explained import explained
from dsva.report.page import Decision, Facts, Gallery, Picture, Pictures, Section, TableSection, write_page
from dsva.report.panels import panel
from dsva.trained import Trained
from dsva.viewer import Viewer
from dsva.zeroshot.candidates import candidates
from dsva.zeroshot.judge import device
from dsva.zeroshot.results import RESULTS, Results
from dsva.zeroshot.tables import per_class, summary
from shards.order import GALLERY, Ids, hashes

PAGE = "report.html"
NOTE = (
    "Test images of unseen classes, each classified among the unseen classes by the prototype head. "
    "The maps show where the prototypes of the highest attributes match best."
)
CAPTIONS = {
    "confusion_zsl_proto.png": "Unseen classes among themselves, prototype head: true by predicted class, percent of the row.",
    "confusion_gzsl_proto.png": "All classes, prototype head.",
    "seen_unseen.png": "Seen against unseen accuracy while gamma, which is subtracted from the seen classes' scores, rises.",
}


def write_report(folder: Path, images_per_class: int = 4) -> Path:
    """Write the page of a run that has been scored; return its path.

    Args:
        folder: of the run.
        images_per_class: of each unseen class, in the gallery.

    Raises:
        UserError: no run, no checkpoint, or no results.
    """
    results = Results.read(folder / RESULTS)
    trained = Trained.open(folder, (f"run.dir={folder}",))
    sections: list[Section] = [
        TableSection(summary(results)),
        Gallery("What the model looked at", tuple(_decisions(trained, images_per_class)), NOTE),
        Pictures(
            "Pictures",
            tuple(Picture((folder / name).read_bytes(), text) for name, text in CAPTIONS.items() if (folder / name).is_file()),
        ),
        TableSection(per_class(results)),
        Facts("Where the figures come from", _facts(results)),
    ]
    counts = f"{len(results.seen)} classes were seen in training, {len(results.unseen)} were not"
    write_page(folder / PAGE, f"Zero-shot scenes: {folder.name}", f"{counts}: those are recognised by their attributes.", sections)
    return folder / PAGE


def _decisions(trained: Trained, images_per_class: int) -> Iterator[Decision]:
    experiment = trained.experiment
    unseen = candidates(experiment.table, experiment.sets, ("unseen",))
    viewer = Viewer.of(trained, "proto", unseen, (0.0, "unseen classes only"), device())
    keys = [experiment.shards.key(int(sample)) for sample in _gallery_ids(experiment, images_per_class)]
    for seen in viewer.look(keys, []):
        for explanation, picture in explained(viewer, seen):
            yield Decision(panel(picture, explanation), explanation.true, explanation.predicted, explanation.image)


def _gallery_ids(experiment: Experiment, images_per_class: int) -> Ids:
    ids = experiment.sets.unseen_test
    labels = experiment.sets.labels[ids]
    shuffled = np.argsort(hashes(GALLERY, ids))
    return np.concatenate([ids[shuffled[labels[shuffled] == label][:images_per_class]] for label in np.unique(labels)])


def _facts(results: Results) -> dict[str, str]:
    made = results.provenance
    facts = {name.replace("_", " "): value for name, value in made.model_dump(mode="json").items() if name != "config"}
    facts |= {"protocol": results.protocol, "images": results.images, "configuration": made.config}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
