"""Class maps of large GeoTIFF scenes: windows slide over the scene, and every cell gets the class that its windows favour."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from dsva.viewer import Viewer
from dsva.zeroshot.judge import look
from shards.decode import Pixels
from shards.errors import UserError
from shards.loader import common_side

MAP, PICTURE = "classes.tif", "classes.png"
NO_CLASS = 255
MAX_CELLS = 50_000_000  # of the map, times candidates: what is added up in memory
THUMBNAIL = 1000
_COLORS = "tab20"


@dataclass(frozen=True, eq=False)
class ClassMap:
    """What a scene shows.

    Attributes:
        names: of the candidates, [C].
        classes: place of each cell's class in `names`, NO_CLASS where the scene has no data, [rows, columns] uint8.
        windows: that were looked at.
    """

    names: tuple[str, ...]
    classes: NDArray[np.uint8]
    windows: int

    def shares(self) -> dict[str, float]:
        """Return the share of the cells with data that each class covers, the largest first, without those that have none."""
        counts = np.bincount(self.classes[self.classes != NO_CLASS], minlength=len(self.names))
        order = np.argsort(-counts, kind="stable")
        return {self.names[place]: float(counts[place] / counts.sum()) for place in order if counts[place]}


def map_scene(viewer: Viewer, scene: Path, target: Path, window: int, stride: int) -> ClassMap:
    """Write the class map of a scene into the folder `target`, as GeoTIFF with its colours, and as a picture with a legend.

    Args:
        viewer: run, head and candidates.
        scene: GeoTIFF whose first three bands are RGB of 8 bits.
        target: folder; made if need be.
        window: side of what the model sees at a time, pixels of the scene.
        stride: step from window to window, and side of a cell of the map, pixels of the scene.

    Raises:
        UserError: no such GeoTIFF, one that is smaller than a window, too many cells, or rasterio is not installed.
    """
    if not stride <= window:
        raise UserError(f"--stride {stride} leaves gaps between windows of {window} pixels: give a stride of at most that")
    if len(viewer.judge.names) > NO_CLASS:
        raise UserError(f"{len(viewer.judge.names)} candidates do not fit a map of 8 bits: choose at most {NO_CLASS} with --class")
    with _opened(scene) as opened:
        _check(opened, scene, window, stride, len(viewer.judge.names))
        made = _classified(viewer, opened, window, stride)
        target.mkdir(parents=True, exist_ok=True)
        _write_map(target / MAP, made, opened, stride)
        scale = min(1.0, THUMBNAIL / max(opened.width, opened.height))
        shape = (3, max(1, round(opened.height * scale)), max(1, round(opened.width * scale)))
        _draw(target / PICTURE, made, np.moveaxis(opened.read((1, 2, 3), out_shape=shape), 0, 2))
    return made


@contextmanager
def _opened(scene: Path) -> Iterator[Any]:
    try:
        import rasterio  # noqa: PLC0415 (an extra)
    except ImportError:
        raise UserError(f"{scene} needs rasterio to be read: install it with `pip install 'dsva[geo]'`") from None
    if not scene.is_file():
        raise UserError(f"{scene} is no file: give a GeoTIFF scene")
    try:
        # Only this format, and no other file beside it: what the scene names is not followed.
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(scene, driver="GTiff") as opened:
            yield opened
    except rasterio.errors.RasterioError as error:
        raise UserError(f"{scene} cannot be read as a GeoTIFF ({' '.join(str(error).split())}): convert it") from None


def _check(opened: Any, scene: Path, window: int, stride: int, candidates: int) -> None:
    if opened.count < 3 or set(opened.dtypes[:3]) != {"uint8"}:
        raise UserError(f"{scene} has {opened.count} bands of {opened.dtypes[0]}: convert it to RGB of 8 bits")
    if min(opened.width, opened.height) < window:
        raise UserError(f"{scene} has {opened.width} x {opened.height} pixels: give a --window of at most its shorter side")
    if ceil(opened.width / stride) * ceil(opened.height / stride) * candidates > MAX_CELLS:
        raise UserError(f"{scene} gives more cells than fit in memory at --stride {stride}: give a larger one")


def _classified(viewer: Viewer, opened: Any, window: int, stride: int) -> ClassMap:
    rows, columns = (_Axis(length, window, stride) for length in (opened.height, opened.width))
    sums = np.zeros((rows.cells, columns.cells, len(viewer.judge.names)), np.float32)
    covered = np.zeros((rows.cells, columns.cells), np.int32)
    config = viewer.trained.experiment.config
    side, looked = common_side(viewer.trained.experiment.shards, config.data.resize), 0
    batch: list[tuple[int, int, Pixels]] = []
    places = [(top, left) for top in rows.starts for left in columns.starts]
    for number, (top, left) in enumerate(places, 1):
        pixels = _window(opened, top, left, window, side)
        if pixels is not None:
            batch.append((top, left, pixels))
        if batch and (len(batch) == config.eval.batch_size or number == len(places)):
            images = np.stack([pixels for _, _, pixels in batch])
            _, outputs = look(config, viewer.trained.model, images, viewer.device)
            for (at, across, _), scores in zip(batch, viewer.judge.chances(outputs).cpu().numpy(), strict=True):
                cells = (rows.inside(at), columns.inside(across))
                sums[cells] += scores
                covered[cells] += 1
            looked, batch = looked + len(batch), []
    means = sums / np.maximum(covered, 1)[..., None]
    classes = np.where(covered > 0, means.argmax(2), NO_CLASS).astype(np.uint8)
    return ClassMap(tuple(viewer.judge.names), classes, looked)


class _Axis:
    """Windows and cells along one side of the scene."""

    def __init__(self, length: int, window: int, stride: int) -> None:
        self.cells = ceil(length / stride)
        # The last window ends where the scene ends.
        self.starts = [*range(0, length - window, stride), length - window]
        ends = np.minimum((np.arange(self.cells) + 1) * stride, length)
        self._middles, self._window = (np.arange(self.cells) * stride + ends) / 2, window

    def inside(self, start: int) -> slice:
        """Return the cells whose middle lies in the window that starts there."""
        first, last = np.searchsorted(self._middles, (start, start + self._window))
        return slice(int(first), int(last))


def _window(opened: Any, top: int, left: int, window: int, side: int) -> Pixels | None:
    """Read a window as RGB, [side, side, 3]; None where less than half of it holds data."""
    frame = ((top, top + window), (left, left + window))
    if (opened.dataset_mask(window=frame) > 0).mean() < 0.5:
        return None
    pixels = np.moveaxis(opened.read((1, 2, 3), window=frame), 0, 2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), Image.Resampling.BILINEAR))


def _write_map(path: Path, made: ClassMap, opened: Any, stride: int) -> None:
    import rasterio  # noqa: PLC0415 (an extra)

    height, width = made.classes.shape
    place = {"crs": opened.crs, "transform": opened.transform @ rasterio.Affine.scale(stride)}
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", nodata=NO_CLASS, compress="deflate", **place
    ) as written:
        written.write(made.classes, 1)
        written.write_colormap(1, {number: (*_color(number), 255) for number in range(len(made.names))})
        written.update_tags(1, **{f"class_{number}": name for number, name in enumerate(made.names)})


def _draw(path: Path, made: ClassMap, thumbnail: Pixels) -> None:
    colors = np.array([_color(number) for number in range(NO_CLASS)] + [(255, 255, 255)], np.uint8)
    figure = Figure(figsize=(13, 6), layout="constrained")
    for axis, picture in zip(figure.subplots(1, 2), (thumbnail, colors[made.classes]), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_axis_off()
    handles = [
        Patch(
            color=f"#{bytes(_color(made.names.index(name))).hex()}", label=f"{name.replace('$', chr(92) + '$')} {100 * share:.1f} %"
        )
        for name, share in made.shares().items()
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _color(number: int) -> tuple[int, int, int]:
    """Return the colour of a class: the twenty of the map, then the same, darker."""
    red, green, blue, _ = mpl.colormaps[_COLORS](number % 20)
    shade = 255 * 0.7 ** (number // 20)
    return round(red * shade), round(green * shade), round(blue * shade)
