# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whose field is it: from a position with its error to ranked village grids.

Half of all places lie within 400 m of a village border and a camera's range is good to hundreds of metres, so the
answer is a probability for each grid and never one grid by force.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """A village grid and the probability that the fire is in it."""

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
    """Outlines (longitude and latitude, WGS-84) with their codes, ready to be asked."""

    def __init__(self, codes: Sequence[str], outlines: Sequence[BaseGeometry]) -> None:
        self._codes = list(codes)
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
        return self.rank_points(self._sample(lat, lon, bearing, along_m, across_m)) or self._nearest(lat, lon)

    def rank_points(self, points: NDArray[np.float64]) -> list[Candidate]:
        """The grids in which equally probable places lie, most probable first; n × 2 (longitude, latitude)."""
        spots, near = self._tree.query(shapely.points(points))
        inside = shapely.contains_xy(self._outlines[near], points[spots, 0], points[spots, 1])
        counts = np.bincount(near[inside], minlength=len(self._codes))
        found = [Candidate(self._codes[index], int(counts[index]) / len(points)) for index in counts.nonzero()[0]]
        return sorted(found, key=lambda candidate: (-candidate.probability, candidate.code))

    @staticmethod
    def _sample(lat: float, lon: float, bearing: float, along_m: float, across_m: float) -> NDArray[np.float64]:
        """Points of the error ellipse, n × 2 (longitude, latitude)."""
        theta = math.radians(bearing)
        north_m = along_m * math.cos(theta) * _UNIT[:, 0] - across_m * math.sin(theta) * _UNIT[:, 1]
        east_m = along_m * math.sin(theta) * _UNIT[:, 0] + across_m * math.cos(theta) * _UNIT[:, 1]
        lons = lon + east_m / (_METRES_PER_DEGREE * math.cos(math.radians(lat)))
        return np.column_stack([lons, lat + north_m / _METRES_PER_DEGREE])

    def _nearest(self, lat: float, lon: float) -> list[Candidate]:
        if not self._codes:
            return []
        # In degrees of latitude; longitudes are shorter, so a crack is judged a little generously east and west.
        index, distance = self._tree.query_nearest(
            shapely.Point(lon, lat), max_distance=_CRACK_M / _METRES_PER_DEGREE, return_distance=True
        )
        return [Candidate(self._codes[index[0]], 1.0)] if len(distance) else []
