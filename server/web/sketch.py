# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small map as one SVG: grid outline, fire and its error region. It needs no tiles, no script and a kilobyte."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.queries.region import outer_rings

WIDTH, HEIGHT = 360, 240
_MARGIN = 18
_METRES_PER_DEGREE = 111_195.0
_SCALES_M = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True, slots=True)
class Ellipse:
    """The region of two standard deviations, SVG units; ``turn`` degrees clockwise from "along is up"."""

    x: float
    y: float
    along: float
    across: float
    turn: float


@dataclass(frozen=True, slots=True)
class Sketch:
    """Paths and marks in SVG units, north up. ``lat``, ``lon`` of the middle and ``per_metre`` let a script add the
    phone's own position."""

    outlines: tuple[str, ...]
    fire: tuple[float, float] | None
    region: Ellipse | None
    scale_m: int
    scale_px: float
    lat: float
    lon: float
    per_metre: float


def draw(
    grid: Mapping[str, Any] | None,
    lat: float | None,
    lon: float | None,
    bearing: float | None,
    along_m: float | None,
    across_m: float | None,
) -> Sketch | None:
    """Lay out the map; None when neither an outline nor a position is known."""
    rings = outer_rings(grid) if grid else []
    points = [point for ring in rings for point in ring]
    reach = 2 * max(along_m or 0.0, across_m or 0.0, 150.0)
    if lat is not None and lon is not None:
        dlat, dlon = reach / _METRES_PER_DEGREE, reach / _METRES_PER_DEGREE / math.cos(math.radians(lat))
        points += [(lon - dlon, lat - dlat), (lon + dlon, lat + dlat)]
    if not points:
        return None
    frame = _frame(points)
    fire = frame.place(lon, lat) if lat is not None and lon is not None else None
    region = None
    if fire and along_m and across_m and bearing is not None:
        region = Ellipse(fire[0], fire[1], 2 * along_m * frame.per_metre, 2 * across_m * frame.per_metre, bearing)
    scale = max((m for m in _SCALES_M if m * frame.per_metre <= WIDTH / 4), default=_SCALES_M[0])
    outlines = tuple(_path(frame, ring) for ring in rings)
    return Sketch(outlines, fire, region, scale, scale * frame.per_metre, frame.lat, frame.lon, frame.per_metre)


@dataclass(frozen=True, slots=True)
class _Frame:
    lat: float
    lon: float
    per_metre: float

    def place(self, lon: float, lat: float) -> tuple[float, float]:
        east = (lon - self.lon) * _METRES_PER_DEGREE * math.cos(math.radians(self.lat))
        north = (lat - self.lat) * _METRES_PER_DEGREE
        return round(WIDTH / 2 + east * self.per_metre, 1), round(HEIGHT / 2 - north * self.per_metre, 1)


def _frame(points: Sequence[tuple[float, float]]) -> _Frame:
    lons, lats = [p[0] for p in points], [p[1] for p in points]
    lat, lon = (min(lats) + max(lats)) / 2, (min(lons) + max(lons)) / 2
    wide = (max(lons) - min(lons)) * _METRES_PER_DEGREE * math.cos(math.radians(lat)) or 1.0
    high = (max(lats) - min(lats)) * _METRES_PER_DEGREE or 1.0
    return _Frame(lat, lon, min((WIDTH - 2 * _MARGIN) / wide, (HEIGHT - 2 * _MARGIN) / high))


def _path(frame: _Frame, ring: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in (frame.place(lon, lat) for lon, lat in ring)) + "Z"
