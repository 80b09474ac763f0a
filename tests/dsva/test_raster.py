"""What a GeoTIFF says of itself, in itself and beside it, is heeded; nothing leads elsewhere."""

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from dsva.inference.raster import Scene, open_scene
from shards.errors import UserError

SIDE = 64
Y, X = np.mgrid[0:SIDE, 0:SIDE]
R, G, B = (band.astype(np.uint8) for band in (X * 2 + 1, Y * 2 + 1, X + Y + 1))
NIR = np.clip(255 - X.astype(int) * 8, 0, 255).astype(np.uint8)
RGB = np.stack([R, G, B], 2)
PLACED = {"crs": "EPSG:32633", "transform": from_origin(500_000, 4_000_000, 0.5, 0.5)}
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path: Path, bands: list[np.ndarray], colours: str = "", texts: tuple[str, ...] = (), **options: object) -> Path:
    shape = {"height": SIDE, "width": SIDE, "count": len(bands), "dtype": bands[0].dtype}
    with rasterio.open(path, "w", driver="GTiff", **{**shape, **options}) as file:
        if colours:
            file.colorinterp = [ColorInterp[name] for name in colours.split()]
        if texts:
            file.descriptions = texts
        for place, band in enumerate(bands, 1):
            file.write(band, place)
    return path


def pixels(scene: Scene) -> np.ndarray | None:
    return scene.window(0, 0, SIDE)


@pytest.mark.parametrize(
    ("bands", "options", "taken", "said"),
    [
        ([R, G, B], {}, (1, 2, 3), "as the file says"),
        ([B, G, R], {"colours": "blue green red"}, (3, 2, 1), "bands 3, 2, 1 are red, green and blue, as the file says"),
        ([B, G, R, NIR], {"colours": "blue green red undefined"}, (3, 2, 1), "as the file says"),
        ([NIR, R, G, B], {"colours": "undefined red green blue"}, (2, 3, 4), "as the file says"),
        ([R, G, B], {"photometric": "minisblack"}, (1, 2, 3), "the file does not say"),
        ([B, G, R], {"photometric": "minisblack", "texts": ("Blue", "Green", "Red")}, (3, 2, 1), "as the file says"),
        ([R, G, B, NIR], {"interleave": "band", "photometric": "rgb", "alpha": "no"}, (1, 2, 3), "as the file says"),
    ],
)
def test_bands_are_taken_as_the_file_says(
    tmp_path: Path, bands: list[np.ndarray], options: dict[str, Any], taken: tuple[int, ...], said: str
) -> None:
    with open_scene(write(tmp_path / "a.tif", bands, **options)) as scene:
        assert scene.bands == taken
        assert said in scene.notes[0]
        np.testing.assert_array_equal(pixels(scene), RGB)
        np.testing.assert_array_equal(scene.picture, RGB)


@pytest.mark.parametrize(
    ("bands", "options", "said"),
    [
        (
            [R, G, B],
            {"texts": ("blue", "green", "red")},
            r"its bands \(1, 2, 3\) are red, green and blue, and describes its bands as blue, green, red",
        ),
        ([NIR, R, G], {"texts": ("NIR", "Red", "Green")}, "describes its bands as nir, red, green"),
        ([NIR, R, G], {"colours": "undefined red green"}, "so green, red but not red, green and blue: name them with `gdal_edit"),
        ([R.astype(np.uint16)] * 3, {}, "3 bands of uint16: convert it to RGB of 8 bits, for example with `gdal_translate -b 1"),
        ([R.astype(np.float32)] * 13, {}, "13 bands of float32"),
        ([R], {}, "1 bands of uint8"),
    ],
)
def test_bands_that_are_no_picture_are_refused(tmp_path: Path, bands: list[np.ndarray], options: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "a.tif", bands, **options)
    with pytest.raises(UserError, match=said), open_scene(path):
        pass


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html>", "it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n", "it is a PNG image: give one; `gdal_translate"),
        (b"\0\0\0\x0cjP  \r\n", "it is a JPEG 2000"),
        (b"", "it is empty"),
        (bytes(9), "it does not begin like one: give one"),
    ],
)
def test_what_is_no_tiff_is_called_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(UserError, match=rf"a\.tif cannot be read as a GeoTIFF, {said}"), open_scene(tmp_path / "a.tif"):
        pass


def test_a_table_of_colours_is_to_be_expanded(tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=1, dtype="uint8") as file:
        file.write_colormap(1, {value: (value, 0, 0, 255) for value in range(256)})
        file.write(R, 1)
    with pytest.raises(UserError, match="-expand rgb"), open_scene(tmp_path / "a.tif"):
        pass


def test_pages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(RGB)])
    with pytest.raises(UserError, match="has 2 pages, each a picture of its own"), open_scene(path):
        pass


@pytest.mark.parametrize("name", ["a.tfw", "a.wld", "a.TFW"])
def test_a_world_file_places_the_scene_and_its_map(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.tif", [R, G, B])
    (tmp_path / name).write_text("0.5\n0\n0\n-0.5\n500000.25\n3999999.75\n")
    with open_scene(path) as scene:
        assert scene.place(4)["transform"] == from_origin(500_000, 4_000_000, 2, 2)
        assert "without a coordinate system" in scene.notes[1]


def test_notes_of_gdal_beside_the_scene_place_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [R, G, B])
    system = CRS.from_epsg(32633).to_wkt()
    place = "500000, 0.5, 0, 4000000, 0, -0.5"
    (tmp_path / "a.tif.aux.xml").write_text(
        f"<PAMDataset><SRS>{system}</SRS><GeoTransform>{place}</GeoTransform></PAMDataset>".replace("&", "&amp;")
    )
    with open_scene(path) as scene:
        assert scene.place(2)["crs"].to_epsg() == 32633
        assert scene.place(2)["transform"] == from_origin(500_000, 4_000_000, 1, 1)


def test_control_points_go_to_the_map(tmp_path: Path) -> None:
    points = [GroundControlPoint(row, col, 10 + col / 100, 50 - row / 100) for row in (0, 64) for col in (0, 64)]
    path = write(tmp_path / "a.tif", [R, G, B], gcps=points, crs="EPSG:4326")
    with open_scene(path) as scene:
        assert "4 ground control points" in scene.notes[1]
        place = scene.place(16)
    assert [(p.row, p.col, p.x, p.y) for p in place["gcps"]] == [(p.row / 16, p.col / 16, p.x, p.y) for p in points]
    assert place["crs"].to_epsg() == 4326


def test_a_scene_that_lies_nowhere_is_told(tmp_path: Path) -> None:
    with open_scene(write(tmp_path / "a.tif", [R, G, B])) as scene:
        assert scene.notes[1:] == ("the scene has no coordinates, nor has the map",)
        assert "transform" not in scene.place(4)


def test_masks_are_heeded_and_told_where_they_take_much(tmp_path: Path) -> None:
    half = np.where(X < SIDE // 2 + 2, 0, 255).astype(np.uint8)
    beside = write(tmp_path / "beside.tif", [R, G, B], **PLACED)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(beside, "r+") as file:
        file.write_mask(half)
    assert (tmp_path / "beside.tif.msk").is_file()
    scenes = {
        "its mask": beside,
        "alpha band 4; if that is near infrared and no mask, say so with `gdal_edit.py -colorinterp_4 undefined": write(
            tmp_path / "alpha.tif", [R, G, B, 255 - half], photometric="rgb", alpha="yes"
        ),
        "no-data value 0; if that is a colour, remove it with `gdal_edit.py -unsetnodata": write(
            tmp_path / "nodata.tif", [np.where(half, band, 0).astype(np.uint8) for band in (R, G, B)], nodata=0
        ),
    }
    for said, path in scenes.items():
        with open_scene(path) as scene:
            [warning] = scene.warnings
            assert "% of the scene has no data" in warning
            assert said in warning
            assert (pixels(scene) is None) == ("alpha" not in said)


@pytest.mark.parametrize("fourth", [{"alpha": "no"}, {"colours": "red green blue undefined"}])
def test_a_fourth_band_that_is_no_alpha_masks_nothing(tmp_path: Path, fourth: dict[str, Any]) -> None:
    with open_scene(write(tmp_path / "a.tif", [R, G, B, NIR * 0], photometric="rgb", **fourth)) as scene:
        assert len(scene.notes) == 2
        assert pixels(scene) is not None


def test_a_damaged_tile_is_a_sentence(tmp_path: Path) -> None:
    noise = [np.random.default_rng(band).integers(0, 256, (SIDE, SIDE), np.uint8) for band in range(3)]
    path = write(tmp_path / "a.tif", noise, tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    data = bytearray(path.read_bytes())
    data[-2000:-1500] = bytes(500)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.tif is damaged, or cannot be read as a GeoTIFF"), open_scene(path):
        pass


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tif.ovr", "<VRTDataset/>"),
        ("a.tif.MSK", "<VRTDataset/>"),
        ("a.tif.aux.xml", '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">b.tif</MDI></Metadata></PAMDataset>'),
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path / "a.tif", [R, G, B])
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match="is not what belongs beside a GeoTIFF"), open_scene(path):
        pass


def test_a_scene_does_not_make_us_ask_the_network(tmp_path: Path) -> None:
    large = [np.tile(band, (20, 20)) for band in (R, G, B)]  # read at a smaller scale, for which GDAL looks for overviews
    path = write(tmp_path / "a.tif", large, height=20 * SIDE, width=20 * SIDE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with rasterio.open(path, "r+") as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/b.tif")
        with pytest.raises(UserError, match="names another file for its overviews"), open_scene(path):
            pass
        with pytest.raises(BlockingIOError):
            server.accept()
