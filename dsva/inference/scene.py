"""Class maps of large GeoTIFF scenes: windows slide over the scene, and every cell gets the class that its windows favour."""

import logging
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from dsva.inference.classifier import look
from dsva.inference.raster import Scene, open_scene
from dsva.inference.viewer import Viewer
from dsva.pictures.drawing import picture
from dsva.pictures.lettering import short
from shards.decode import Pixels
from shards.errors import UserError
from shards.files import replace_with
from shards.image_checks import MAX_PIXELS
from shards.loader import common_side

MAP, PICTURE = "classes.tif", "classes.png"
NO_CLASS = 255
MAX_CELLS = 50_000_000  # of the map, times candidates: what is added up in memory
_COLORS = "tab20"
log = logging.getLogger(__name__)


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
        scene: GeoTIFF with red, green and blue of 8 bits.
        target: folder; made if need be.
        window: side of what the model sees at a time, pixels of the scene.
        stride: step from window to window, and side of a cell of the map, pixels of the scene.

    Raises:
        UserError: no such GeoTIFF, a damaged one, one that is smaller than a window or has no data, too many cells, or
            rasterio is not installed.
    """
    if not stride <= window:
        raise UserError(f"--stride {stride} leaves gaps between windows of {window} pixels: give a stride of at most that")
    if window**2 > MAX_PIXELS:
        raise UserError(f"--window {window} has more than {MAX_PIXELS:,} pixels: give a smaller one")
    if len(viewer.classifier.names) > NO_CLASS:
        raise UserError(
            f"{len(viewer.classifier.names)} candidates do not fit a map of 8 bits: choose at most {NO_CLASS} with --class"
        )
    with open_scene(scene) as opened:
        _check(opened, window, stride, len(viewer.classifier.names))
        for note in opened.notes:
            log.info(note)
        for warning in opened.warnings:
            log.warning(warning)
        made = _classified(viewer, opened, window, stride)
        place, thumbnail = opened.place(stride), opened.picture
    if not made.windows:
        raise UserError(
            f"{scene} has no window of {window} pixels of which half holds data: give a smaller --window, or mend its mask"
        )
    target.mkdir(parents=True, exist_ok=True)
    replace_with(target / MAP, _encoded(made, place))
    _draw(target / PICTURE, made, thumbnail)
    return made


def _check(scene: Scene, window: int, stride: int, candidates: int) -> None:
    height, width = scene.size
    if min(width, height) < window:
        raise UserError(f"{scene.path} has {width} x {height} pixels: give a --window of at most its shorter side")
    if ceil(width / stride) * ceil(height / stride) * candidates > MAX_CELLS:
        raise UserError(f"{scene.path} gives more cells than fit in memory at --stride {stride}: give a larger one")


def _classified(viewer: Viewer, scene: Scene, window: int, stride: int) -> ClassMap:
    rows, columns = (_Axis(length, window, stride) for length in scene.size)
    sums = np.zeros((rows.cells, columns.cells, len(viewer.classifier.names)), np.float32)
    covered = np.zeros((rows.cells, columns.cells), np.int32)
    config = viewer.trained.experiment.config
    side, looked = common_side(viewer.trained.experiment.shards, config.data.resize), 0
    batch: list[tuple[int, int, Pixels]] = []
    places = [(top, left) for top in rows.starts for left in columns.starts]
    for number, (top, left) in enumerate(places, 1):
        pixels = scene.window(top, left, window)
        if pixels is not None:
            batch.append((top, left, _scaled(pixels, side)))
        if batch and (len(batch) == config.eval.batch_size or number == len(places)):
            images = np.stack([pixels for _, _, pixels in batch])
            _, outputs = look(config, viewer.trained.model, images, viewer.device)
            for (at, across, _), scores in zip(batch, viewer.classifier.chances(outputs).cpu().numpy(), strict=True):
                cells = (rows.inside(at), columns.inside(across))
                sums[cells] += scores
                covered[cells] += 1
            looked, batch = looked + len(batch), []
    means = sums / np.maximum(covered, 1)[..., None]
    classes = np.where(covered > 0, means.argmax(2), NO_CLASS).astype(np.uint8)
    return ClassMap(tuple(viewer.classifier.names), classes, looked)


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


def _scaled(pixels: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def _encoded(made: ClassMap, place: dict[str, Any]) -> bytes:
    """Return the map as a GeoTIFF."""
    import rasterio  # noqa: PLC0415 (an extra)

    height, width = made.classes.shape
    shape = {"height": height, "width": width, "count": 1, "dtype": "uint8"}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", nodata=NO_CLASS, compress="deflate", **shape, **place) as written:
            written.write(made.classes, 1)
            written.write_colormap(1, {number: (*_color(number), 255) for number in range(len(made.names))})
            written.update_tags(1, **{f"class_{number}": name for number, name in enumerate(made.names)})
        return bytes(memory.getbuffer())


def _draw(path: Path, made: ClassMap, thumbnail: Pixels) -> None:
    """Draw scene and map with a legend."""
    colors = np.array([_color(number) for number in range(NO_CLASS)] + [(255, 255, 255)], np.uint8)
    with picture(path, 13, 6, dpi=110, layout="constrained") as figure:
        for axis, shown in zip(figure.subplots(1, 2), (thumbnail, colors[made.classes]), strict=True):
            axis.imshow(shown, interpolation="nearest")
            axis.set_axis_off()
        shares = made.shares()
        handles = [Patch(color=f"#{bytes(_color(made.names.index(name))).hex()}") for name in shares]
        labels = [f"{short(name)} {100 * share:.1f} %" for name, share in shares.items()]
        figure.legend(handles, labels, loc="outside right center", frameon=False)


def _color(number: int) -> tuple[int, int, int]:
    """Return the colour of a class: the twenty of the map, then the same, darker."""
    red, green, blue, _ = mpl.colormaps[_COLORS](number % 20)
    shade = 255 * 0.7 ** (number // 20)
    return round(red * shade), round(green * shade), round(blue * shade)
