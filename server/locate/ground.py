# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plane that touches the earth at a camera, on which regions are computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_A, _E2 = 6_378_137.0, 6.694_379_990_14e-3  # WGS-84


Degrees = TypeVar("Degrees", float, Array)


def within(lon: Degrees) -> Degrees:
    """Longitudes, or turns, from -180 to 180: east of the date line they begin anew."""
    return (lon + 180) % 360 - 180


@dataclass(frozen=True, slots=True)
class Tangent:
    """Metres east and north of an origin by the ellipsoid's radii of curvature there: good to metres within 20 km."""

    lat: float
    lon: float
    per_lat: float
    per_lon: float

    @classmethod
    def at(cls, lat: float, lon: float) -> Tangent:
        """The plane that touches at a position."""
        s2 = math.sin(math.radians(lat)) ** 2
        n = _A / math.sqrt(1 - _E2 * s2)
        meridian, parallel = n * (1 - _E2) / (1 - _E2 * s2), n * math.cos(math.radians(lat))
        return cls(lat, lon, math.radians(meridian), math.radians(parallel))

    def to_metres(self, lat: float, lon: float) -> tuple[float, float]:
        """(east, north) of a position."""
        return within(lon - self.lon) * self.per_lon, (lat - self.lat) * self.per_lat

    def to_degrees(self, east: Array, north: Array) -> tuple[Array, Array]:
        """(latitudes, longitudes) of points."""
        return self.lat + north / self.per_lat, within(self.lon + east / self.per_lon)
