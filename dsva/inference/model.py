"""A trained model that is ready to sort images, of a run or exported, for programs that import us."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image

from dsva.config import Config, DataConfig, HeadName
from dsva.inference.candidates import distinct, named
from dsva.inference.classifier import Classifier, device
from dsva.inference.predict import Prediction, ranked
from dsva.inference.viewer import Viewer, look_at, true_classes
from dsva.json_files import unknown
from dsva.model.dsva import DSVA
from dsva.model.exported import Exported
from shards.errors import UserError
from shards.index import ShardSet
from shards.names import matching
from shards.user_images import Given, Unused


@dataclass(frozen=True, eq=False)
class Model:
    """A network and the classes that it sorts images into; `dsva.load` makes one.

    Attributes:
        network: in evaluation mode, on `device`.
        classifier: the head that decides, and the candidates.
        gamma: what is subtracted from the scores of classes seen in training, and where it comes from.
        device: that the network is on.
    """

    network: DSVA
    classifier: Classifier
    gamma: tuple[float, str]
    device: torch.device
    _config: Config
    _shards: ShardSet | None = None
    _further: Sequence[str] = field(default=(), repr=False)  # classes that are known and no candidates

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the candidates."""
        return tuple(self.classifier.names)

    @classmethod
    def of_run(cls, viewer: Viewer) -> Self:
        """Take the model of a run."""
        experiment = viewer.trained.experiment
        further = experiment.table.classes
        config, network = experiment.config, viewer.trained.model
        return cls(network, viewer.classifier, viewer.gamma, viewer.device, config, experiment.shards, further)

    @classmethod
    def exported(cls, folder: Path, head: HeadName, classes: Sequence[str], gamma: float | None) -> Self:
        """Read the model that `dsva checkpoint export` wrote.

        Raises:
            UserError: missing or damaged files, or a class that the model does not have.
        """
        exported, on = Exported.read(folder), device()
        seen, unseen = exported.classes[: exported.n_seen], exported.classes[exported.n_seen :]

        def own_name(name: str) -> str:
            if own := matching(name, exported.classes):
                return own
            raise UserError(f"{folder} has no class {name!r}: {unknown(name, exported.classes)}")

        names = distinct(tuple(named(classes or ("seen", "unseen"), {"seen": seen, "unseen": unseen}, own_name)))
        every = exported.class_rows(on)
        rows = replace(every, values=every.values[[exported.classes.index(name) for name in names]])
        told = (0.0, "zero: an exported model holds none") if gamma is None else (gamma, "given")
        handicap = torch.tensor([told[0] if name in seen else 0.0 for name in names], device=on)
        chooses = Classifier(head, names, rows, handicap, exported.model.region_weight)
        data = DataConfig(image_size=exported.image_size, resize=exported.resize, normalize=exported.normalize)
        config = Config(data=data, model=exported.model, scores=exported.scores)
        return cls(DSVA.from_pretrained(folder).to(on), chooses, told, on, config, None, exported.classes)

    def predict(self, images: Given | Iterable[Given], top: int = 3, skip_bad: bool = False) -> list[Prediction]:
        """Sort images into the candidates, as `dsva predict` does.

        Args:
            images: one, or several: paths of image files, of folders (with all below them) or of shard sets, keys of the run's
                own shard set, pictures of Pillow (turned upright as their EXIF data say), or arrays of RGB or grey values,
                uint8 [H, W, 3] or [H, W].
            top: how many candidates are told of each image.
            skip_bad: leave out images that cannot be used.

        Returns:
            For each image, in the order given, its name (of a picture, `images[PLACE]`), the class by the folder it lies in, and
            the best candidates with their scores. `label` and `score` are the best one's.

        Raises:
            UserError: something that is no image; or an image that cannot be used, unless `skip_bad`.
        """
        if top < 1:
            raise UserError(f"top={top} candidates cannot be told: give 1 or more")
        one = isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4)
        given: list[Given] = [images] if one else list(images)  # type: ignore[list-item, arg-type]
        unused, found = Unused(), list[Prediction]()
        for seen in look_at(self._config, self.network, self.device, self._shards, given, unused):
            _refuse(unused, skip_bad)
            found += ranked(self.classifier, seen, true_classes(seen.batch, [*self.classes, *self._further]), top)
        _refuse(unused, skip_bad)
        return found


def _refuse(unused: Unused, skip_bad: bool) -> None:
    if unused.bad and not skip_bad:
        raise UserError(f"{unused.bad[0].name} {unused.bad[0].reason}; or leave such images out with skip_bad=True")
