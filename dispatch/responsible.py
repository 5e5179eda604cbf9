# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whose field is it: from a position with its error to ranked grids, or villages where these are not divided.

Half of all places lie within 400 m of a village border and a camera's range is good to hundreds of metres, so the
answer is a probability for each grid and never one grid by force.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

_METRES_PER_DEGREE = 111_195.0
_SAMPLES = 256
# A position that falls in a crack between outlines, or just outside them, belongs to the nearest within this distance.
_CRACK_M = 1_000.0
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A grid or a village's undivided ground, and the probability that the fire is in it."""

    code: str
    probability: float


def _unit_normal(count: int) -> NDArray[np.float64]:
    """``count`` points spread evenly over the standard normal distribution of the plane: a sunflower's spiral whose
    radii are the Rayleigh distribution's quantiles. The same points each time."""
    rank = np.arange(count)
    radius = np.sqrt(-2 * np.log1p(-(rank + 0.5) / count))
    angle = rank * _GOLDEN_ANGLE
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


_UNIT = _unit_normal(_SAMPLES)


class RegionIndex:
    """Outlines (longitude and latitude, WGS-84) with their codes, ready to be asked. ``cracks``: whether what falls
    between them belongs to the nearest. ``wholes``: by code, the code of the outline that this one is a part of; a
    whole has only the ground that its parts leave."""

    def __init__(
        self,
        codes: Sequence[str],
        outlines: Sequence[BaseGeometry],
        *,
        cracks: bool = True,
        wholes: Mapping[str, str] | None = None,
    ) -> None:
        self._cracks = cracks
        self._codes = list(codes)
        self._wholes = wholes or {}
        places = {code: place for place, code in enumerate(self._codes)}
        parts = [
            (places[part], places[whole]) for part, whole in self._wholes.items() if {part, whole} <= places.keys()
        ]
        self._parts, self._divided = np.array(parts, np.intp).reshape(-1, 2).T
        self._outlines = np.array(outlines, dtype=object)
        shapely.prepare(self._outlines)
        self._tree = shapely.STRtree(self._outlines)

    def rank(
        self, lat: float, lon: float, *, bearing: float = 0.0, along_m: float = 0.0, across_m: float = 0.0
    ) -> list[Candidate]:
        """The grids in which a fire at this position may be, most probable first.

        ``along_m`` and ``across_m`` are standard deviations along the bearing (degrees from north) and across it. The
        probabilities sum to less than one where the error reaches beyond the region; the list is empty when the
        position is far outside it.
        """
        if not self._codes:
            return []
        return self.rank_points(self._sample(lat, lon, bearing, along_m, across_m)) or self._nearest(lat, lon)

    def rank_points(self, points: NDArray[np.float64]) -> list[Candidate]:
        """The grids in which equally probable places lie; n × 2 (longitude, latitude). The most probable first, but the
        parts of a whole one after the other, where the whole's turn is: how finely it is divided moves it no lower."""
        if not self._codes:
            return []
        spots, near = self._tree.query(shapely.points(points))
        inside = shapely.contains_xy(self._outlines[near], points[spots, 0], points[spots, 1])
        counts = np.bincount(near[inside], minlength=len(self._codes))
        np.subtract.at(counts, self._divided, counts[self._parts])
        found = [Candidate(self._codes[place], int(counts[place]) / len(points)) for place in (counts > 0).nonzero()[0]]
        whole: dict[str, float] = defaultdict(float)
        for one in found:
            whole[self._wholes.get(one.code, one.code)] += one.probability

        def turn(one: Candidate) -> tuple[float, str, float, str]:
            code = self._wholes.get(one.code, one.code)
            return -whole[code], code, -one.probability, one.code

        return sorted(found, key=turn)

    @staticmethod
    def _sample(lat: float, lon: float, bearing: float, along_m: float, across_m: float) -> NDArray[np.float64]:
        """Points of the error ellipse, n × 2 (longitude, latitude)."""
        theta = math.radians(bearing)
        north_m = along_m * math.cos(theta) * _UNIT[:, 0] - across_m * math.sin(theta) * _UNIT[:, 1]
        east_m = along_m * math.sin(theta) * _UNIT[:, 0] + across_m * math.cos(theta) * _UNIT[:, 1]
        lons = lon + east_m / (_METRES_PER_DEGREE * math.cos(math.radians(lat)))
        return np.column_stack([lons, lat + north_m / _METRES_PER_DEGREE])

    def _nearest(self, lat: float, lon: float) -> list[Candidate]:
        if not self._cracks:
            return []
        # In degrees of latitude; longitudes are shorter, so a crack is judged a little generously east and west.
        here = shapely.Point(lon, lat)
        near = self._tree.query(here, predicate="dwithin", distance=_CRACK_M / _METRES_PER_DEGREE)
        # To the centimetre: a part that shares the whole's border there comes before it.
        apart = {int(place): round(float(shapely.distance(self._outlines[place], here)), 7) for place in near}
        return (
            [Candidate(self._codes[min(apart, key=lambda p: (apart[p], p in self._divided, p))], 1.0)] if apart else []
        )
