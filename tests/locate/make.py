# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras, fires and landscapes whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camera_sim.geometry import View as Lens
from camera_sim.geometry import from_bearing_range, to_bearing_range
from server.domain.place import CURVE_RADIUS_M, View
from server.locate.sight import Sight, sight

MAST = (28.96, 118.80)
ASPECT = 16 / 9
Ground = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def view(pan: float = 90.0, tilt: float = -1.0, **more: float | None) -> View:
    """A camera on a 40 m mast."""
    values = {"lat": MAST[0], "lon": MAST[1], "height_m": 40.0, "pan": pan, "tilt": tilt, "hfov": 32.0} | more
    return View(**values)  # type: ignore[arg-type]


def foot(of: View, lat: float, lon: float, up: float = 0.0) -> tuple[float, float]:
    """Where a point ``up`` metres above the camera's ground falls in its picture (fractions), by the simulator's
    projection with the earth's curve."""
    bearing, far = to_bearing_range(of.lat, of.lon, lat, lon)
    lens = Lens(of.pan, of.tilt, of.hfov, 1280, 720, of.height_m)
    right, forward = lens.axes(bearing, far)
    x, y, depth = lens.project(right, forward, up - far**2 / (2 * CURVE_RADIUS_M))
    assert depth > 0
    return float(x) / 1280, float(y) / 720


def look(of: View, lat: float, lon: float, *, camera: str = "tower-1", up: float = 0.0) -> Sight:
    """What a camera reports of a plume whose foot is exactly there."""
    x, y = foot(of, lat, lon, up)
    return sight(camera, of, (x - 0.01, y - 0.06, x + 0.01, y), ASPECT)


def towards(mast: tuple[float, float], lat: float, lon: float, **more: float | None) -> View:
    """A camera at ``mast`` that looks at a place, a degree off its middle."""
    bearing, far = to_bearing_range(*mast, lat, lon)
    tilt = -math.degrees(math.atan2(40, far)) + 1.0
    return view(pan=bearing + 1.0, tilt=tilt, lat=mast[0], lon=mast[1], **more)


def away(bearing: float, range_m: float) -> tuple[float, float]:
    """A place seen from the mast."""
    return from_bearing_range(*MAST, bearing, range_m)


def write_hgt(folder: Path, ground: Ground, name: str = "N28E118") -> Path:
    """An SRTM tile of a landscape given as metres by latitudes and longitudes."""
    rows, columns = np.mgrid[0:1201, 0:1201] / 1200.0
    south, west = int(name[1:3]), int(name[4:7])
    heights = ground(south + 1 - rows, west + columns)
    path = folder / f"{name}.hgt"
    path.write_bytes(np.rint(heights).astype(">i2").tobytes())
    return path


def ridge(range_m: float, height_m: float, base_m: float = 100.0) -> Ground:
    """A plain with a wall from north to south, so far east of the mast and 400 m thick."""
    _, lon = away(90, range_m)
    half = abs(away(90, 200)[1] - MAST[1])
    return lambda lats, lons: np.where(abs(lons - lon) < half, base_m + height_m, base_m) + 0.0 * lats
