"""Classes for any images, by a finished run: as records, CSV or JSON."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dsva.inference.classifier import Classifier
from dsva.inference.viewer import Viewed, Viewer
from shards.spreadsheet import csv_text
from shards.user_images import Given, Unused


@dataclass(frozen=True)
class Prediction:
    """The candidates for one image.

    Attributes:
        image: its name.
        true: class by the folder it lies in; "" where that is no class.
        ranked: the best candidates and their scores, less gamma for classes seen in training, best first.
    """

    image: str
    true: str
    ranked: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str:
        """The best candidate."""
        return self.ranked[0][0]

    @property
    def score(self) -> float:
        """The best candidate's score."""
        return self.ranked[0][1]


@dataclass(frozen=True)
class Predictions:
    """What was predicted, and how fast.

    Attributes:
        viewer: run, head and candidates.
        images: a prediction for each image that could be used, in the order given.
        unused: the others, and what was no image.
        seconds: that reading, decoding and the model took together.
    """

    viewer: Viewer
    images: Sequence[Prediction]
    unused: Unused
    seconds: float

    @property
    def speed(self) -> float:
        """Images per second, from file to class."""
        return len(self.images) / self.seconds

    def csv(self) -> str:
        """Return a line for each image: name, true class, then class and score by rank."""
        ranks = len(self.images[0].ranked) if self.images else 0
        header = ["image", "true", *(f"{what}_{rank + 1}" for rank in range(ranks) for what in ("class", "score"))]
        cells = ([cell for name, score in made.ranked for cell in (name, f"{score:.6g}")] for made in self.images)
        return csv_text([header, *([made.image, made.true, *row] for made, row in zip(self.images, cells, strict=True))])

    def json(self) -> str:
        """Return predictions, images that could not be used, and everything needed to say where they come from."""
        trained, classifier = self.viewer.trained, self.viewer.classifier
        made = {
            "run": str(trained.experiment.config.run.dir),
            **trained.weights.record(),
            "attributes_sha256": trained.experiment.table.sha256,
            "protocol": trained.experiment.config.eval.protocol,
            "warnings": [*trained.warnings, *trained.experiment.sets.warnings],
            "head": classifier.head,
            "candidates": list(classifier.names),
            "new_classes": dict(self.viewer.made),
            "gamma": self.viewer.gamma[0],
            "gamma_source": self.viewer.gamma[1],
            "predictions": [
                {
                    "image": image.image,
                    "true": image.true,
                    "classes": [{"name": name, "score": score} for name, score in image.ranked],
                }
                for image in self.images
            ],
            "bad": [{"image": image.name, "reason": image.reason} for image in self.unused.bad],
            "ignored": dict(self.unused.ignored),
        }
        return json.dumps(made, indent=1) + "\n"


def predict(viewer: Viewer, images: Sequence[Given], top: int) -> Predictions:
    """Sort images into the candidates.

    Args:
        viewer: run, head and candidates.
        images: see `shards.user_images.find`.
        top: how many candidates of each image are kept.

    Raises:
        UserError: a name that means nothing; before any image is looked at.
    """
    predictions: list[Prediction] = []
    unused = Unused()
    start = time.perf_counter()
    for seen in viewer.look(images, unused):
        predictions += ranked(viewer.classifier, seen, viewer.true_classes(seen.batch), top)
    return Predictions(viewer, predictions, unused, time.perf_counter() - start)


def ranked(classifier: Classifier, seen: Viewed, true: Sequence[str], top: int) -> Iterator[Prediction]:
    """Yield the `top` candidates of each image of a batch, whose classes by their folders are `true`."""
    best, places = classifier.chances(seen.outputs).sort(dim=1, descending=True, stable=True)
    for image, own, scores, ranks in zip(seen.batch.images, true, best.tolist(), places.tolist(), strict=True):
        pairs = zip(ranks[:top], scores[:top], strict=True)
        yield Prediction(image.name, own, tuple((classifier.names[place], score) for place, score in pairs))
