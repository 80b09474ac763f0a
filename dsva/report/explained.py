"""Explanations of chosen images in a folder: a picture each, and all figures as JSON."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dsva.files import write_atomically
from dsva.inference.explain import Explanation, explain
from dsva.inference.viewer import Viewed, Viewer
from dsva.pixels import shown_pixels
from dsva.report.overlays import Pixels
from dsva.report.panels import panel
from shards.errors import UserError
from shards.user_images import Unused

EXPLANATIONS = "explanations.json"


def explain_images(viewer: Viewer, images: Sequence[str], target: Path) -> tuple[list[Explanation], Unused]:
    """Explain the decisions on images: a PNG panel each in the folder `target`, and all figures in explanations.json.

    Args:
        viewer: run, head and candidates.
        images: see `shards.user_images.find`.
        target: folder to write to; made if need be.

    Returns:
        The explanations, and what cannot be used.

    Raises:
        UserError: a name that means nothing, or the target is a file.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: give a folder")
    unused = Unused()
    explanations: list[Explanation] = []
    records: list[dict[str, Any]] = []
    for seen in viewer.look(images, unused):
        for explanation, picture in explained(viewer, seen):
            target.mkdir(parents=True, exist_ok=True)
            file = f"{len(records):04d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', explanation.image)[-80:]}.png"
            write_atomically(target / file, panel(picture, explanation))
            explanations.append(explanation)
            records.append({"panel": file, **explanation.record()})
    if records:
        gamma, source = viewer.gamma
        made = {
            "run": str(viewer.trained.experiment.config.run.dir),
            **viewer.trained.weights.record(),
            "head": viewer.classifier.head,
            "candidates": list(viewer.classifier.names),
            "gamma": gamma,
            "gamma_source": source,
            "score": "sum of the attributes' contributions, each value x class / divisor",
            "divisor": viewer.classifier.rows.divisor,
            "explanations": records,
        }
        write_atomically(target / EXPLANATIONS, json.dumps(made, indent=1) + "\n")
    return explanations, unused


def explained(viewer: Viewer, seen: Viewed) -> Iterator[tuple[Explanation, Pixels]]:
    """Yield the explanation of each image of a batch, and the model's input for people, [S, S, 3]."""
    experiment, batch = viewer.trained.experiment, seen.batch
    names = [image.name for image in batch.images]
    pictures = shown_pixels(seen.pixels, experiment.config.data)
    explanations = explain(viewer.classifier, seen.outputs, names, viewer.true_classes(batch), experiment.table.names)
    yield from zip(explanations, pictures, strict=True)
