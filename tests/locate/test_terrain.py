# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elevation tiles, and rays cast on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camera_sim.geometry import to_bearing_range
from server.domain.errors import Invalid
from server.locate.region import region
from server.locate.terrain import Terrain, Tile, open_terrain
from tests.locate.make import MAST, Ground, away, look, ridge, view, write_hgt


def land(folder: Path, ground: Ground) -> Terrain:
    """A landscape written as a tile and read back."""
    write_hgt(folder, ground)
    return open_terrain(folder)


def test_heights_lie_between_their_cells(tmp_path: Path) -> None:
    """A slope comes back as the slope it was, on the cells and between them."""
    terrain = land(tmp_path, lambda lats, lons: 1200 * (lats - 28) + 600 * (lons - 118))
    lats, lons = np.array([28.0, 28.5, 28.50004, 29.0]), np.array([118.0, 118.25, 118.25004, 119.0])
    assert terrain.elevation(lats, lons) == pytest.approx(1200 * (lats - 28) + 600 * (lons - 118), abs=1.0)


def test_beyond_the_tiles_nothing_is_known(tmp_path: Path) -> None:
    """No height is made up outside or in a void."""
    terrain = land(tmp_path, lambda lats, lons: np.where(lats > 28.9, -32768, 50) + 0 * lons)
    assert terrain.at(27.9, 118.5) is None
    assert terrain.at(28.95, 118.5) is None
    assert terrain.at(28.5, 118.5) == 50


def test_a_void_is_filled_by_another_tile_that_knows() -> None:
    """A finer tile with holes over a coarser one without: asked for one point or for many."""
    holes = np.full((11, 11), 100.0)
    holes[5, 5] = -32768
    fine, coarse = (
        Tile(name, 29.0, 118.0, 0.1, 0.1, heights, -32768) for name, heights in (("a", holes), ("b", holes * 0 + 90))
    )
    assert Terrain([fine, coarse]).at(28.5, 118.5) == 90
    assert Terrain([fine, coarse]).elevation(np.array([28.5, 28.9]), np.array([118.5, 118.5])).tolist() == [90, 100]


def test_tiles_that_only_touch_leave_no_crack() -> None:
    """Cells' centres of neighbours lie a cell apart; a point between them has a height."""
    west = Tile("w", 29.0, 118.05, 0.1, 0.1, np.full((10, 10), 10.0), -32768)
    east = Tile("e", 29.0, 119.05, 0.1, 0.1, np.full((10, 10), 20.0), -32768)
    assert Terrain([west, east]).at(28.5, 118.999) == 10
    assert Terrain([west, east]).at(28.5, 119.001) == 20


def test_on_a_level_plain_terrain_and_flat_ground_agree(tmp_path: Path) -> None:
    """100 m above the sea, the mast's lens at 140 m."""
    terrain = land(tmp_path, lambda lats, lons: 100 + 0 * lats * lons)
    seen = look(view(altitude_m=140.0), *away(92, 2500))
    flat, cast = region([look(view(), *away(92, 2500))]).place, region([seen], terrain).place
    assert flat.range_m is not None
    assert cast.range_m == pytest.approx(flat.range_m, rel=0.002)
    assert cast.along_m is not None
    assert flat.along_m is not None
    assert cast.along_m == pytest.approx(flat.along_m, rel=0.3)


def test_a_hill_stops_the_ray(tmp_path: Path) -> None:
    """Smoke on a hillside 30 m up at 2 km is placed there; flat ground would put it at eight."""
    terrain = land(tmp_path, ridge(2200.0, 30.0))
    fire = away(90, 2050)
    seen = look(view(altitude_m=140.0), *fire, up=30.0)
    cast = region([seen], terrain)
    assert cast.place.lat is not None
    assert cast.place.lon is not None
    assert to_bearing_range(*fire, cast.place.lat, cast.place.lon)[1] < 100
    assert cast.contains(*fire)
    flat = region([look(view(), *fire, up=30.0)]).place
    assert flat.range_m is not None
    assert flat.range_m > 6000


def test_behind_a_hill_the_probability_is_in_two_parts(tmp_path: Path) -> None:
    """A ray that grazes the crest meets the hill or the plain far behind it, nothing in the hidden ground between."""
    terrain = land(tmp_path, ridge(1500.0, 25.0))
    crest = away(90, 1690)
    points = region([look(view(altitude_m=140.0), *crest, up=24.5)], terrain).points
    ranges = np.array([to_bearing_range(*MAST, y, x)[1] for x, y in points])
    assert (ranges < 1750).sum() > 50
    assert (ranges > 3500).sum() > 50
    assert ((ranges > 1800) & (ranges < 3000)).sum() == 0


def test_a_ray_across_unknown_ground_is_a_bearing_alone(tmp_path: Path) -> None:
    """Behind a hole in the tiles there may be anything."""
    _, edge = away(90, 1000)
    terrain = land(tmp_path, lambda lats, lons: np.where(abs(lons - edge) < 0.002, -32768, 100) + 0 * lats)
    seen = look(view(altitude_m=140.0), *away(90, 2500))
    assert region([seen], terrain).place.lat is None
    near = look(view(tilt=-4.0, altitude_m=140.0), *away(90, 600))
    assert region([near], terrain).place.lat is not None


def test_a_lens_below_the_ground_places_nothing(tmp_path: Path) -> None:
    """An altitude that cannot be must not put the fire at the tower's foot."""
    terrain = land(tmp_path, lambda lats, lons: 100 + 0 * lats * lons)
    for altitude in (60.0, 99.0):
        found = region([look(view(altitude_m=altitude), *away(90, 2500))], terrain)
        assert found.place.lat is None
        assert found.points.size == 0


def test_a_camera_without_altitude_stays_on_flat_ground(tmp_path: Path) -> None:
    """Its height counts from the plain it looks at, so tiles must not be mixed in."""
    terrain = land(tmp_path, lambda lats, lons: 700 + 0 * lats * lons)
    seen = look(view(), *away(90, 2500))
    assert region([seen], terrain).place == region([seen]).place


def test_cameras_cross_on_terrain(tmp_path: Path) -> None:
    """Two cameras see a fire on a hill."""
    terrain = land(tmp_path, lambda lats, lons: 100 + 2000 * abs(lats - MAST[0]) + 0 * lons)
    fire = away(70, 2500)
    up = terrain.at(*fire)
    assert up is not None
    first = look(view(pan=70.0, altitude_m=140.0), *fire, up=up - 100)
    mast = away(130, 2000)
    foot = terrain.at(*mast)
    assert foot is not None
    bearing, _ = to_bearing_range(*mast, *fire)
    other = view(pan=bearing, tilt=0.0, lat=mast[0], lon=mast[1], altitude_m=foot + 40)
    second = look(other, *fire, camera="tower-2", up=up - foot)
    place = region([first, second], terrain).place
    assert place.lat is not None
    assert place.lon is not None
    assert to_bearing_range(*fire, place.lat, place.lon)[1] < 20


@pytest.mark.parametrize(
    ("name", "size", "word"),
    [("N28E118.hgt", 100, "1201"), ("hill.hgt", 1201**2 * 2, "N28E118"), ("a.txt", 1, "holds no")],
)
def test_a_file_that_is_no_tile_is_named(tmp_path: Path, name: str, size: int, word: str) -> None:
    """One sentence says which file and what is expected."""
    (tmp_path / name).write_bytes(bytes(size))
    with pytest.raises(Invalid, match=word):
        open_terrain(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A typing error in the setting is told at the start."""
    with pytest.raises(Invalid, match="nowhere"):
        open_terrain(tmp_path / "nowhere")


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rasterio's own
def test_a_geotiff_is_read_by_rasterio(tmp_path: Path) -> None:
    """North up in degrees it is taken, void cells stay unknown; in metres it is refused with the mend."""
    import rasterio

    heights = np.full((100, 100), 80, np.float32)
    heights[:10] = -9999
    shape = {"driver": "GTiff", "width": 100, "height": 100, "count": 1, "dtype": "float32", "nodata": -9999}
    degrees = rasterio.transform.from_origin(118.0, 29.0, 0.01, 0.01)
    with rasterio.open(tmp_path / "a.tif", "w", **shape, crs="EPSG:4326", transform=degrees) as made:
        made.write(heights, 1)
    terrain = open_terrain(tmp_path)
    assert terrain.at(28.5, 118.5) == 80
    assert terrain.at(28.95, 118.5) is None
    metres = rasterio.transform.from_origin(500_000, 3_200_000, 30, 30)
    with rasterio.open(tmp_path / "b.tif", "w", **shape, crs="EPSG:32650", transform=metres) as made:
        made.write(heights, 1)
    with pytest.raises(Invalid, match=r"b\.tif.*gdalwarp"):
        open_terrain(tmp_path)
