"""Class maps of GeoTIFF scenes, put together from scenes whose classes `dsva predict` tells."""

import io
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from dsva.inference.predict import predict
from dsva.inference.scene import MAP, NO_CLASS, PICTURE, map_scene
from dsva.inference.viewer import Viewer
from shards.errors import UserError
from shards.formats.ifd import directories
from shards.index import ShardSet
from shards.loader import Reader

SIDE, ROWS, COLUMNS = 64, 3, 4
TILE_OFFSETS = 324
ORIGIN = from_origin(500_000, 4_000_000, 0.5, 0.5)


@pytest.fixture(scope="module")
def tiles(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve scenes of the run as files without loss, 64 x 64 pixels."""
    folder, shards = tmp_path_factory.mktemp("tiles"), ShardSet.open(run_dir.parent / "shards")
    paths = []
    with Reader(shards) as reader:
        for sample in range(0, ROWS * COLUMNS * 7, 7):
            image = Image.open(io.BytesIO(reader.bytes(sample))).convert("RGB").resize((SIDE, SIDE))
            paths.append(folder / f"{sample:03d}.png")
            image.save(paths[-1])
    return paths


def write(path: Path, pixels: np.ndarray, **more: object) -> Path:
    shape = {"height": pixels.shape[0], "width": pixels.shape[1], "count": pixels.shape[2]}
    with rasterio.open(path, "w", driver="GTiff", dtype=pixels.dtype, crs="EPSG:32633", transform=ORIGIN, **shape, **more) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    return path


def mosaic(tiles: list[Path]) -> np.ndarray:
    grid = [[np.asarray(Image.open(tiles[row * COLUMNS + column])) for column in range(COLUMNS)] for row in range(ROWS)]
    return np.concatenate([np.concatenate(row, axis=1) for row in grid], axis=0)


@pytest.fixture(scope="module")
def viewer(run_dir: Path) -> Viewer:
    return Viewer.open(run_dir, "main")


def test_each_cell_has_the_class_of_its_window_and_lies_where_it_belongs(viewer: Viewer, tiles: list[Path], tmp_path: Path) -> None:
    scene = write(tmp_path / "scene.tif", mosaic(tiles))
    made = map_scene(viewer, scene, tmp_path / "map", SIDE, SIDE)
    wanted = [image.ranked[0][0] for image in predict(viewer, [str(tile) for tile in tiles], 1).images]
    assert [made.names[place] for place in made.classes.flatten()] == wanted
    assert made.windows == ROWS * COLUMNS
    with rasterio.open(tmp_path / "map" / MAP) as read:
        np.testing.assert_array_equal(read.read(1), made.classes)
        assert (read.crs.to_epsg(), read.nodata) == (32633, NO_CLASS)
        assert read.xy(1, 2, offset="ul") == (500_000 + 2 * SIDE * 0.5, 4_000_000 - SIDE * 0.5)
        assert read.tags(1)["class_0"] == made.names[0]
        assert len(set(read.colormap(1)[place] for place in range(len(made.names)))) == len(made.names)
    assert sum(made.shares().values()) == pytest.approx(1)
    with Image.open(tmp_path / "map" / PICTURE) as picture:
        assert picture.width > 1000


def test_overlapping_windows_are_averaged_and_reach_every_edge(viewer: Viewer, tiles: list[Path], tmp_path: Path) -> None:
    """A stride that fits neither window nor scene: cells beyond the last whole step are covered too."""
    pixels = mosaic(tiles)[:150, :171]
    stride = 24
    made = map_scene(viewer, write(tmp_path / "scene.tif", pixels), tmp_path / "map", SIDE, stride)
    assert made.classes.shape == (7, 8)
    tops, lefts = [0, 24, 48, 72, 86], [0, 24, 48, 72, 96, 107]
    assert made.windows == len(tops) * len(lefts)
    sums, counts = np.zeros((7, 8, len(made.names))), np.zeros((7, 8, 1))
    for top in tops:
        for left in lefts:
            file = tmp_path / "window.png"
            Image.fromarray(pixels[top : top + SIDE, left : left + SIDE]).save(file)
            scores = dict(predict(viewer, [str(file)], 99).images[0].ranked)
            for row in range(7):
                for column in range(8):
                    y, x = (row * 24 + min((row + 1) * 24, 150)) / 2, (column * 24 + min((column + 1) * 24, 171)) / 2
                    if top <= y < top + SIDE and left <= x < left + SIDE:
                        sums[row, column] += [scores[name] for name in made.names]
                        counts[row, column] += 1
    assert counts.min() >= 1
    means = sums / counts
    chosen = np.take_along_axis(means, made.classes[..., None].astype(int), 2)[..., 0]
    np.testing.assert_allclose(chosen, means.max(2), atol=1e-4)


def test_cells_without_data_have_no_class(viewer: Viewer, tiles: list[Path], tmp_path: Path) -> None:
    pixels = np.maximum(mosaic(tiles), 1)
    pixels[:SIDE, :SIDE] = 0
    made = map_scene(viewer, write(tmp_path / "scene.tif", pixels, nodata=0), tmp_path / "map", SIDE, SIDE)
    assert made.classes[0, 0] == NO_CLASS
    assert (made.classes.flatten()[1:] != NO_CLASS).all()
    assert made.windows == ROWS * COLUMNS - 1


def test_what_is_no_such_scene_is_refused(viewer: Viewer, tiles: list[Path], tmp_path: Path) -> None:
    good = write(tmp_path / "good.tif", mosaic(tiles))
    cases = [
        (write(tmp_path / "deep.tif", mosaic(tiles).astype(np.uint16)), SIDE, SIDE, "has 3 bands of uint16: convert it to RGB"),
        (write(tmp_path / "grey.tif", mosaic(tiles)[..., :1]), SIDE, SIDE, "has 1 bands of uint8"),
        (good, 200, 64, "give a --window of at most its shorter side"),
        (good, SIDE, 65, "--stride 65 leaves gaps"),
        (tiles[0], SIDE, SIDE, "cannot be read as a GeoTIFF"),
        (tmp_path / "none.tif", SIDE, SIDE, "is no file"),
    ]
    for scene, window, stride, said in cases:
        with pytest.raises(UserError, match=said):
            map_scene(viewer, scene, tmp_path / "map", window, stride)
    assert not (tmp_path / "map").exists()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(good.read_bytes()[:20_000])
    with pytest.raises(UserError, match="cannot be read as a GeoTIFF"):
        map_scene(viewer, cut, tmp_path / "map", SIDE, SIDE)


def test_control_points_and_bands_in_another_order_come_through(
    viewer: Viewer, tiles: list[Path], tmp_path: Path, said: StringIO
) -> None:
    points = [GroundControlPoint(row, col, 10 + col / 1e4, 50 - row / 1e4) for row in (0, 192) for col in (0, 256)]
    plain = map_scene(viewer, write(tmp_path / "rgb.tif", mosaic(tiles)), tmp_path / "plain", SIDE, SIDE)
    path, reversed_ = tmp_path / "bgr.tif", mosaic(tiles)[..., ::-1]
    shape = {"height": reversed_.shape[0], "width": reversed_.shape[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", gcps=points, crs="EPSG:4326", **shape) as file:
        file.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
        file.write(np.moveaxis(reversed_, 2, 0))
    made = map_scene(viewer, path, tmp_path / "map", SIDE, SIDE)
    np.testing.assert_array_equal(made.classes, plain.classes)
    assert "\nINFO: bands 3, 2, 1 are red, green and blue, as the file says\n" in said.getvalue()
    with rasterio.open(tmp_path / "map" / MAP) as read:
        placed, system = read.gcps
    assert [(p.row, p.col, p.x, p.y) for p in placed] == [(p.row / SIDE, p.col / SIDE, p.x, p.y) for p in points]
    assert system.to_epsg() == 4326


def test_nothing_is_written_where_there_is_nothing_to_see(viewer: Viewer, tiles: list[Path], tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.tif", mosaic(tiles) * 0, nodata=0)
    with pytest.raises(UserError, match="has no window of 64 pixels of which half holds data"):
        map_scene(viewer, empty, tmp_path / "map", SIDE, SIDE)
    damaged = write(tmp_path / "damaged.tif", mosaic(tiles), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    data = bytearray(damaged.read_bytes())
    last = next(directories(bytes(data))).get(TILE_OFFSETS)[-1]
    data[last : last + 100] = bytes(100)
    damaged.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged\.tif is damaged, or cannot be read as a GeoTIFF"):
        map_scene(viewer, damaged, tmp_path / "map", SIDE, SIDE)
    assert not (tmp_path / "map").exists()
