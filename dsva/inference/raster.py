"""A GeoTIFF scene: which of its bands are the picture, where it has data, where it lies; read in windows."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.decode import Pixels
from shards.errors import UserError
from shards.formats import what_it_is

THUMBNAIL = 1000
# What GDAL may read beside a scene, and how large an .aux.xml may be; the two rasters have to be TIFFs, so that GDAL opens
# them with no other driver, which might follow what they name.
_RASTERS, _NOTES, _NOTES_BYTES = (".msk", ".ovr"), ".aux.xml", 16 << 20
_START = 4096  # bytes that tell what a file is which is no TIFF
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REFERENCES = re.compile(rb"OVERVIEW_FILE|/vsi|<VRT", re.IGNORECASE)
_COLOURS = ("red", "green", "blue")
_NAMELESS = {"gray", "undefined", "palette"}
_MUCH = 0.05  # of a scene without data is worth a word


@dataclass(frozen=True)
class Scene:
    """An opened scene.

    Attributes:
        path: of the file.
        opened: rasterio's dataset.
        bands: that are red, green and blue, counted from 1.
        notes: what was taken as what, in sentences for the user.
        warnings: what may be wrong with that.
        picture: the whole scene, RGB, at most THUMBNAIL pixels a side.
    """

    path: Path
    opened: Any
    bands: tuple[int, int, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    picture: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.opened.height, self.opened.width

    def window(self, top: int, left: int, side: int) -> Pixels | None:
        """Read a square of the scene as RGB, [side, side, 3]; None where less than half of it holds data."""
        frame = ((top, top + side), (left, left + side))
        if self.opened.read_masks(self.bands, window=frame).any(0).mean() < 0.5:
            return None
        return np.ascontiguousarray(np.moveaxis(self.opened.read(self.bands, window=frame), 0, 2))

    def place(self, stride: int) -> dict[str, Any]:
        """Return what says where a raster of cells of `stride` pixels lies, for rasterio to write."""
        from rasterio import Affine  # noqa: PLC0415 (an extra)
        from rasterio.control import GroundControlPoint  # noqa: PLC0415

        points, system = self.opened.gcps
        if points:
            scaled = [GroundControlPoint(p.row / stride, p.col / stride, p.x, p.y, p.z, p.id, p.info) for p in points]
            return {"crs": system, "gcps": scaled}
        if self.opened.transform.is_identity:
            return {"crs": self.opened.crs}
        return {"crs": self.opened.crs, "transform": self.opened.transform @ Affine.scale(stride)}


@contextmanager
def open_scene(path: Path) -> Iterator[Scene]:
    """Open a GeoTIFF with what belongs to it: world file, .aux.xml and mask beside it.

    Raises:
        UserError: no such file, not a GeoTIFF of 8 bits with red, green and blue, damaged (also while it is read), or
            rasterio is not installed.
    """
    try:
        import rasterio  # noqa: PLC0415 (an extra)
    except ImportError:
        raise UserError(f"{path} needs rasterio to be read: install it with `pip install 'dsva[geo]'`") from None
    if not path.is_file():
        raise UserError(f"{path} is no file: give a GeoTIFF scene")
    _check_start(path)
    _check_beside(path)
    try:
        # Only this format, and nothing from a network, whatever the scene names.
        with (
            rasterio.Env(CPL_VSIL_CURL_ALLOWED_EXTENSIONS="{none}"),
            warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning),
            rasterio.open(path, driver="GTiff") as opened,
        ):
            yield _scene(path, opened)
    except rasterio.errors.RasterioError as error:
        said = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{path} is damaged, or cannot be read as a GeoTIFF ({said}): fetch it again, or convert it") from None


def _check_start(path: Path) -> None:
    """Refuse what is no TIFF by its first bytes, and say what it is."""
    with path.open("rb") as file:
        start = file.read(_START)
    if not start.startswith(_TIFFS):
        found = what_it_is(start)
        what = f"it is {found[0]}" if found else "it does not begin like one"
        raise UserError(f"{path} cannot be read as a GeoTIFF, {what}: give one; `gdal_translate IN OUT.tif` makes one of an image")


def _check_beside(path: Path) -> None:
    """Refuse files beside a scene that could lead GDAL elsewhere."""
    beside = [file for file in path.parent.iterdir() if file.name.lower().startswith(path.name.lower() + ".") and file.is_file()]
    for file in beside:
        if file.suffix.lower() in _RASTERS:
            with file.open("rb") as read:
                fine = read.read(4) in _TIFFS
        elif file.name.lower().endswith(_NOTES):
            fine = file.stat().st_size <= _NOTES_BYTES and not _REFERENCES.search(file.read_bytes())
        else:
            continue
        if not fine:
            raise UserError(f"{file} is not what belongs beside a GeoTIFF (a TIFF, or notes of GDAL that name no file): remove it")


def _scene(path: Path, opened: Any) -> Scene:
    if len(opened.subdatasets) > 1:
        pages = f"{path} has {len(opened.subdatasets)} pages, each a picture of its own"
        raise UserError(f"{pages}: save one with `gdal_translate GTIFF_DIR:1:{path} OUT.tif`")
    if "OVERVIEW_FILE" in opened.tags(ns="OVERVIEWS"):
        raise UserError(f"{path} names another file for its overviews, which is not followed: write it anew with `gdal_translate`")
    bands, how = _bands(path, opened)
    if deep := {opened.dtypes[band - 1] for band in bands} - {"uint8"}:
        chosen = " ".join(f"-b {band}" for band in bands)
        made = f"`gdal_translate {chosen} -ot Byte -scale {path} OUT.tif`"
        raise UserError(f"{path} has {opened.count} bands of {min(deep)}: convert it to RGB of 8 bits, for example with {made}")
    scale = min(1.0, THUMBNAIL / max(opened.width, opened.height))
    shape = (3, max(1, round(opened.height * scale)), max(1, round(opened.width * scale)))
    picture = np.moveaxis(opened.read(bands, out_shape=shape), 0, 2)
    mask = opened.read_masks(bands, out_shape=shape).any(0)
    return Scene(path, opened, bands, (how, _where(opened)), tuple(_without_data(path, opened, bands, mask)), picture)


def _bands(path: Path, opened: Any) -> tuple[tuple[int, int, int], str]:
    """Return the bands of red, green and blue, counted from 1, and a sentence that says how they were found."""
    interpreted = [interpretation.name.lower() for interpretation in opened.colorinterp]
    described = [(text or "").strip().lower() for text in opened.descriptions]
    by_colour, by_text = _named(interpreted), _named(described)
    once = {band: described.index(band) + 1 for band in _COLOURS if described.count(band) == 1}
    if by_colour and any(once.get(band, number) != number for band, number in zip(_COLOURS, by_colour, strict=True)):
        raise UserError(
            f"{path} says that its bands {by_colour} are red, green and blue, and describes its bands as {', '.join(described)}: "
            f"set it right with `gdal_edit.py -colorinterp_1 red ...`"
        )
    if named := by_colour or by_text:
        return named, f"bands {', '.join(map(str, named))} are red, green and blue, as the file says"
    if opened.count < 3:
        expand = f": write its colours with `gdal_translate -expand rgb {path} OUT.tif`" if "palette" in interpreted else ""
        grey = ": convert it to RGB of 8 bits"
        raise UserError(f"{path} has {opened.count} bands of {opened.dtypes[0]}{expand or grey}")
    if told := set(interpreted[:3]) - _NAMELESS:
        raise UserError(
            f"{path} calls its bands {', '.join(interpreted)}, so {', '.join(sorted(told))} but not red, green and blue: "
            f"name them with `gdal_edit.py -colorinterp_1 red -colorinterp_2 green -colorinterp_3 blue {path}`"
        )
    return (1, 2, 3), "bands 1, 2, 3 are taken as red, green and blue: the file does not say which are"


def _named(names: list[str]) -> tuple[int, int, int] | None:
    """Return the places of red, green and blue, counted from 1; None where each is not there just once."""
    if any(names.count(colour) != 1 for colour in _COLOURS):
        return None
    red, green, blue = (names.index(colour) + 1 for colour in _COLOURS)
    return red, green, blue


def _where(opened: Any) -> str:
    """Return a sentence that says how the scene is placed."""
    points, _ = opened.gcps
    if points:
        return f"placed by {len(points)} ground control points, which the map carries"
    if opened.transform.is_identity:
        sensor = ", only a sensor model (RPC): rectify it with `gdalwarp -rpc` for a map with coordinates" if opened.rpcs else ""
        return f"the scene has no coordinates{sensor or ', nor has the map'}"
    return f"placed by its coordinates ({opened.crs or 'without a coordinate system'})"


def _without_data(path: Path, opened: Any, bands: tuple[int, int, int], mask: NDArray[np.bool_]) -> Iterator[str]:
    """Yield a warning where much of the scene counts as without data."""
    share = 1 - float(mask.mean())
    if share <= _MUCH:
        return
    flags = {flag.name for flag in opened.mask_flag_enums[bands[0] - 1]}
    if "alpha" in flags:
        alpha = [interpretation.name for interpretation in opened.colorinterp].index("alpha") + 1
        undo = f"`gdal_edit.py -colorinterp_{alpha} undefined {path}`"
        by = f"alpha band {alpha}; if that is near infrared and no mask, say so with {undo}"
    elif "nodata" in flags:
        by = f"no-data value {opened.nodata:g}; if that is a colour, remove it with `gdal_edit.py -unsetnodata {path}`"
    else:
        by = "mask; if that is wrong, write the scene anew with `gdal_translate -mask none`"
    yield f"{100 * share:.0f} % of the scene has no data by its {by}"
