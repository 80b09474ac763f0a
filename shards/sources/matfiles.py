"""The authors' two .mat files, which say which images there are, their classes, and a split number's index sets.

Names and meaning of the variables: Xian et al., "Zero-shot learning - a comprehensive evaluation", 2018,
with the split number k at the end. All indices are 1-based.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError
from shards.sources.folders import file_record
from shards.sources.records import Found

IMAGES_END, SPLITS_END = "_images.mat", "_splits.mat"
# Image paths are absolute on the authors' machine; what follows this folder is kept.
DATA_FOLDER = "RSSDIVCS/"
MAX_CELLS = 1 << 25  # of a variable: names, labels and index sets have at most one an image


@dataclass(frozen=True)
class MatFiles:
    """The images of one class split.

    A sample's split is `train`, `test_seen` or `test_unseen`, or "" for an image in no index set. The
    authors' `train_zsl_loc` may hold images of `test_seen_loc` too: those are `train_and_test_seen`, so that what
    is called `train` never holds a test image.

    Attributes:
        images_file: `*_images.mat`, with image_files and labels.
        splits_file: `ann_attr_*_splits.mat`, with allclasses_names and the index sets.
        root: the folder that the class folders of the images are in.
        number: which of the splits in the file.
    """

    images_file: Path
    splits_file: Path
    root: Path
    number: int = 0

    @property
    def kind(self) -> str:
        """Source and split number."""
        return f"mat files, split {self.number}"

    @property
    def given(self) -> Path:
        """The file of the images."""
        return self.images_file

    def records(self) -> Iterator[Found]:
        """Yield the images in the order of the files.

        Raises:
            UserError: a file cannot be read, lacks a variable, or its index sets overlap.
        """
        images = _load(self.images_file, ("image_files", "labels"))
        paths, labels = _strings(images["image_files"], self.images_file), _integers(images["labels"], self.images_file)
        names, sets = self._load_splits()
        if len(paths) != len(labels):
            raise UserError(f"{self.images_file} has {len(paths)} image_files but {len(labels)} labels")
        if len(labels) and not 1 <= labels.min() <= labels.max() <= len(names):
            raise UserError(
                f"{self.images_file} has labels {labels.min()} to {labels.max()}, {self.splits_file} {len(names)} classes"
            )
        splits = self._splits(len(paths), sets)
        for path, label, split in zip(paths, labels, splits, strict=True):
            kept = path.replace("\\", "/").rpartition(DATA_FOLDER)[2].lstrip("/")
            yield file_record(self.root, kept, names[label - 1].strip(), split)

    def _load_splits(self) -> tuple[list[str], dict[str, NDArray[np.int64]]]:
        sets = [f"{name}_loc_{self.number}" for name in ("train_zsl", "train_gzsl", "test_seen", "test_unseen")]
        loaded = _load(self.splits_file, ("allclasses_names", *sets))
        names = _strings(loaded["allclasses_names"], self.splits_file)
        return names, {name: _integers(loaded[name], self.splits_file) for name in sets}

    def _splits(self, count: int, sets: dict[str, NDArray[np.int64]]) -> list[str]:
        inside = {}
        for name, places in sets.items():
            if len(places) and not 1 <= places.min() <= places.max() <= count:
                raise UserError(f"{self.splits_file}: {name} has an index outside the {count} images of {self.images_file}")
            inside[name] = np.zeros(count, bool)
            inside[name][places - 1] = True
        train_zsl, train_gzsl, seen, unseen = inside.values()
        leaks = (
            ("train_gzsl_loc and test_seen_loc", train_gzsl & seen),
            ("test_unseen_loc and another set", unseen & (train_zsl | train_gzsl | seen)),
        )
        for names, shared in leaks:
            if shared.any():
                which = f"image {int(np.argmax(shared)) + 1} of split {self.number}"
                raise UserError(f"{self.splits_file}: {names} share {which}: test images would be trained on")
        cases = {"test_unseen": unseen, "train_and_test_seen": seen & train_zsl, "test_seen": seen, "train": train_zsl | train_gzsl}
        chosen = np.select(list(cases.values()), list(cases), "")
        return [str(split) for split in chosen]


def _load(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        from scipy.io import loadmat, whosmat  # noqa: PLC0415 (an extra)
    except ImportError:
        raise UserError(f"{path} needs scipy: install it with `pip install 'dsva[tables]'`") from None
    try:
        cells = {name: math.prod(shape) for name, shape, _ in whosmat(path) if name in names}
        if max(cells.values(), default=0) > MAX_CELLS:
            raise ValueError(f"a variable of more than {MAX_CELLS:,} cells")
        # Only what is needed: the files also hold 2048 features an image.
        loaded: dict[str, Any] = loadmat(path, variable_names=list(names))
    except Exception as error:  # on damaged files loadmat raises almost anything
        raise UserError(f"{path} cannot be read as a MATLAB file up to version 7 ({error}): save it with `save -v7`") from None
    for name in names:
        if name not in loaded:
            raise UserError(f"{path} has no variable {name!r}")
    return loaded


def _strings(cells: Any, path: Path) -> list[str]:
    """Return the strings of a cell array."""
    try:
        return [str(np.asarray(cell).item()) for cell in np.asarray(cells).ravel()]
    except ValueError:
        raise UserError(f"{path} has a cell that is not one string") from None


def _integers(values: Any, path: Path) -> NDArray[np.int64]:
    values = np.asarray(values).ravel()
    if values.dtype.kind not in "iuf" or not np.array_equal(values, np.floor(values)):
        raise UserError(f"{path} has labels or indices that are not whole numbers")
    return np.asarray(values, np.int64)


def find_mat_files(path: Path) -> tuple[Path, Path]:
    """Return the images' and the splits' file, given either of them.

    Raises:
        UserError: there is not exactly one of the other beside it.
    """
    pair = []
    for end in (IMAGES_END, SPLITS_END):
        there = [path] if path.name.endswith(end) else sorted(path.parent.glob(f"*{end}"))
        if len(there) != 1:
            raise UserError(f"{path.parent} has {len(there)} files *{end}: give a *{SPLITS_END} that lies beside one *{IMAGES_END}")
        pair += there
    return pair[0], pair[1]
