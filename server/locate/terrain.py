# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elevation tiles that the operator supplies: SRTM's .hgt, and GeoTIFF where rasterio is installed.

.hgt (USGS, SRTM topography manual): one degree square named by its south-west corner (N28E118.hgt), rows from the
north, big-endian 16-bit metres, 1201 or 3601 a side, edges shared with the neighbours, -32768 where nothing is known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.domain.errors import Invalid
from server.locate.ground import Array

_HGT = re.compile(r"([NS])(\d{2})([EW])(\d{3})", re.IGNORECASE)
_HGT_SIDES = {1201**2 * 2: 1201, 3601**2 * 2: 3601}
_VOID = -32768
_HALF = 0.501  # of a cell, and a little for rounding
_TIFF = (".tif", ".tiff")
# Geographic systems whose degrees are WGS-84's to well under a metre: itself and CGCS2000.
_GEOGRAPHIC = (4326, 4490)


@dataclass(frozen=True, slots=True)
class Tile:
    """A grid of heights in metres; ``north``, ``west`` is the centre of its first cell, steps are in degrees."""

    name: str
    north: float
    west: float
    lat_step: float
    lon_step: float
    heights: NDArray[np.generic]
    void: float

    def covers(self, lats: Array, lons: Array) -> NDArray[np.bool_]:
        """Which points lie on its cells; half a cell beyond the outer centres the outermost height holds, so that tiles
        which only touch leave no crack."""
        rows, columns = self.heights.shape
        row, column = (self.north - lats) / self.lat_step, (lons - self.west) / self.lon_step
        covered: NDArray[np.bool_] = (row > -_HALF) & (row < rows - 1 + _HALF)
        covered &= (column > -_HALF) & (column < columns - 1 + _HALF)
        return covered

    def sample(self, lats: Array, lons: Array) -> Array:
        """Heights between four cells; NaN where one of them is void. All points must be covered."""
        rows, columns = self.heights.shape
        row, column = (self.north - lats) / self.lat_step, (lons - self.west) / self.lon_step
        top = np.clip(row.astype(np.intp), 0, rows - 2)
        left = np.clip(column.astype(np.intp), 0, columns - 2)
        down, right = row - top, column - left
        flat, first = self.heights.reshape(-1), top * columns + left
        corners = [np.asarray(flat[first + step], np.float64) for step in (0, 1, columns, columns + 1)]
        found: Array = (corners[0] * (1 - right) + corners[1] * right) * (1 - down)
        found += (corners[2] * (1 - right) + corners[3] * right) * down
        known = [corner != self.void for corner in corners]
        return np.where(known[0] & known[1] & known[2] & known[3], found, np.nan)


class Terrain:
    """Heights above sea level from tiles; where tiles overlap the first by name that knows one counts."""

    def __init__(self, tiles: Sequence[Tile]) -> None:
        self.tiles = tuple(tiles)

    def elevation(self, lats: Array, lons: Array) -> Array:
        """Metres above sea level at each point, NaN where nothing is known."""
        found = np.full(lats.shape, np.nan)
        for tile in self.tiles:
            missing = np.isnan(found)
            covered = tile.covers(lats, lons) & missing
            if covered.all():
                found = tile.sample(lats, lons)
            elif covered.any():
                found[covered] = tile.sample(lats[covered], lons[covered])
            else:
                continue
            if not np.isnan(found).any():
                break
        return found

    def at(self, lat: float, lon: float) -> float | None:
        """Metres above sea level at one point; None where nothing is known."""
        height = float(self.elevation(np.array([lat]), np.array([lon]))[0])
        return None if math.isnan(height) else height


def open_terrain(folder: Path) -> Terrain:
    """The tiles of a folder (not of folders in it). Raises Invalid when there is none, naming a file that is none."""
    if not folder.is_dir():
        raise Invalid(f"the terrain folder {folder} is not there")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".hgt", *_TIFF))
    if not files:
        raise Invalid(f"the terrain folder {folder} holds no .hgt and no .tif file")
    return Terrain([_hgt(path) if path.suffix.lower() == ".hgt" else _geotiff(path) for path in files])


def _hgt(path: Path) -> Tile:
    name = _HGT.match(path.stem)
    side = _HGT_SIDES.get(path.stat().st_size)
    if name is None or side is None:
        raise Invalid(
            f"{path.name} is no SRTM tile: the name must be like N28E118.hgt, its size 1201² or 3601² × 2 bytes"
        )
    south = int(name[2]) * (1 if name[1].upper() == "N" else -1)
    west = int(name[4]) * (1 if name[3].upper() == "E" else -1)
    # As a plain array: a memory map's own indexing is slow.
    heights = np.memmap(path, dtype=">i2", mode="r", shape=(side, side)).view(np.ndarray)
    return Tile(path.name, south + 1, west, 1 / (side - 1), 1 / (side - 1), heights, _VOID)


def _geotiff(path: Path) -> Tile:
    try:
        import rasterio
    except ImportError:
        raise Invalid(f"{path.name}: GeoTIFF needs the package rasterio: pip install 'straw1530[terrain]'") from None
    try:
        with rasterio.open(path) as data:
            system = data.crs.to_epsg() if data.crs else None
            grid, heights = data.transform, data.read(1).astype(np.float32)
            nodata = data.nodata
    except rasterio.errors.RasterioIOError as error:
        raise Invalid(f"{path.name} cannot be read ({error})") from None
    if system not in _GEOGRAPHIC or grid.b or grid.d or grid.a <= 0 or grid.e >= 0 or min(heights.shape) < 2:
        raise Invalid(f"{path.name} is not in degrees, north up: gdalwarp -t_srs EPSG:4326 makes it so")
    heights[~np.isfinite(heights)] = _VOID
    if nodata is not None:
        heights[heights == np.float32(nodata)] = _VOID
    # A cell's height is its centre's.
    return Tile(path.name, grid.f + grid.e / 2, grid.c + grid.a / 2, -grid.e, grid.a, heights, _VOID)
