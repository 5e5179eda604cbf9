# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the coordinate systems of Chinese web maps to WGS-84.

GCJ-02 shifts WGS-84 by a smooth published series of sines on the Krasovsky 1940 ellipsoid (at Quzhou 465 m east and
345 m south); BD-09 turns and scales GCJ-02 a little further. CGCS2000 agrees with WGS-84 to centimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

Points = NDArray[np.float64]  # n × 2, longitude and latitude in degrees

_A = 6378245.0  # Krasovsky 1940, metres
_E2 = 0.00669342162296594323
_BD_TURN = np.pi * 3000.0 / 180.0


def _series(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return (20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)) * 2.0 / 3.0 + 0.0 * y


def _shift(points: Points) -> Points:
    """The offset of GCJ-02 against WGS-84 at WGS-84 points, degrees."""
    x, y = points[:, 0] - 105.0, points[:, 1] - 35.0
    root = np.sqrt(np.abs(x))
    wave = _series(x, y)
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + wave
    north += (20.0 * np.sin(y * np.pi) + 40.0 * np.sin(y / 3.0 * np.pi)) * 2.0 / 3.0
    north += (160.0 * np.sin(y / 12.0 * np.pi) + 320.0 * np.sin(y * np.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + wave
    east += (20.0 * np.sin(x * np.pi) + 40.0 * np.sin(x / 3.0 * np.pi)) * 2.0 / 3.0
    east += (150.0 * np.sin(x / 12.0 * np.pi) + 300.0 * np.sin(x / 30.0 * np.pi)) * 2.0 / 3.0
    phi = np.radians(points[:, 1])
    magic = 1.0 - _E2 * np.sin(phi) ** 2
    lat = np.degrees(north * magic * np.sqrt(magic) / (_A * (1.0 - _E2)))
    lon = np.degrees(east * np.sqrt(magic) / (_A * np.cos(phi)))
    return np.column_stack([lon, lat])


def wgs84_to_gcj02(points: Points) -> Points:
    """WGS-84 to GCJ-02."""
    return points + _shift(points)


def gcj02_to_wgs84(points: Points) -> Points:
    """GCJ-02 to WGS-84, to better than a millimetre."""
    guess = points - _shift(points)
    for _ in range(4):
        guess = points - _shift(guess)
    return guess


def bd09_to_wgs84(points: Points) -> Points:
    """BD-09 to WGS-84."""
    x, y = points[:, 0] - 0.0065, points[:, 1] - 0.006
    radius = np.hypot(x, y) - 0.00002 * np.sin(y * _BD_TURN)
    angle = np.arctan2(y, x) - 0.000003 * np.cos(x * _BD_TURN)
    return gcj02_to_wgs84(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]))


def _same(points: Points) -> Points:
    return points


TO_WGS84: dict[str, Callable[[Points], Points]] = {
    "wgs84": _same,
    "cgcs2000": _same,
    "gcj02": gcj02_to_wgs84,
    "bd09": bd09_to_wgs84,
}
# The systems that differ from one another, for guessing which one a file is in.
DISTINCT = ("wgs84", "gcj02", "bd09")


def to_wgs84(geometry: BaseGeometry, crs: str) -> BaseGeometry:
    """A geometry in ``crs`` (a key of TO_WGS84) as WGS-84."""
    convert = TO_WGS84[crs]
    if convert is _same:
        return geometry
    converted: BaseGeometry = shapely.transform(geometry, convert)
    return converted
