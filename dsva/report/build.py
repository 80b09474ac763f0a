"""One HTML page of a run: its table, its pictures, what the model looked at, and where the figures come from."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dsva.experiment import Experiment
from dsva.model.dsva import Outputs
from dsva.pixels import shown_pixels, test_pixels
from dsva.report.overlays import AttributeMap, panel
from dsva.report.page import Decision, Facts, Gallery, Picture, Pictures, Section, TableSection, write_page
from dsva.trained import Trained
from dsva.zeroshot.results import RESULTS, Results
from dsva.zeroshot.tables import per_class, summary
from shards.loader import Batch, Loader, common_side
from shards.order import GALLERY, Ids, Sequential, hashes

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
    experiment, config = trained.experiment, trained.experiment.config
    chosen = Sequential(_gallery_ids(experiment, images_per_class), config.eval.batch_size)
    loader = Loader(experiment.shards, chosen, common_side(experiment.shards, config.data.resize), workers=config.data.workers)
    trained.model.eval()
    for batch in loader.batches(0, chosen.steps):
        pixels = test_pixels(torch.from_numpy(batch.images), config.data)
        with torch.no_grad():
            outputs = trained.model(pixels, regions=config.model.regions)
        yield from _decided(experiment, batch, pixels, outputs)


def _decided(experiment: Experiment, batch: Batch, pixels: torch.Tensor, outputs: Outputs) -> Iterator[Decision]:
    sets, names = experiment.sets, experiment.table.names
    unseen = experiment.class_rows(pixels.device).part(slice(sets.n_seen, None))
    places = unseen.scores(outputs.proto).argmax(1).tolist()
    pictures = shown_pixels(pixels, experiment.config.data)
    for i, sample in enumerate(batch.ids):
        true, predicted = sets.classes[sets.labels[sample]], sets.unseen[places[i]]
        maps = [AttributeMap(name, float(outputs.proto[i, k]), outputs.maps[i, k].numpy()) for k, name in enumerate(names)]
        yield Decision(
            panel(pictures[i], maps, true, predicted, box=_box(outputs, i)), true, predicted, experiment.shards.key(int(sample))
        )


def _box(outputs: Outputs, i: int) -> tuple[int, int, int, int] | None:
    if outputs.boxes is None:
        return None
    top, left, bottom, right = outputs.boxes[i].tolist()
    return left, top, right, bottom


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
