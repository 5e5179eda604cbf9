# SPDX-License-Identifier: AGPL-3.0-or-later
"""From one or several lines of sight to a region on the ground with its probability.

The errors are normal in the angles, not on the ground: seen from a 40 m mast, the ranges that fit a line of sight to
3 km reach from 2 to 6 km. So the 90 % region is stated in the angles (a place belongs to it when the angles under which
the cameras would see it fit what they saw), which holds at every range and on any ground, and the cloud of equally
probable places that grids are ranked by is made by casting rays that differ as the errors do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from server.domain.place import CURVE_RADIUS_M, MAX_RANGE_M, Place, depression_of, distance_m, ground_range
from server.locate.ground import Array, Tangent, within
from server.locate.sight import Sight, turn
from server.locate.solve import least_squares
from server.locate.terrain import Terrain

DRAWS = 256
# One standard deviation: where the camera stands, and the heights of the tiles (SRTM's mission: 9.8 m at 90 %).
POSITION_ERROR_M, TERRAIN_ERROR_M = 5.0, 6.0
# Sights of one fire disagree more than this (chi-squared) once in a thousand times; by degrees of freedom.
_DISAGREE = {2: 13.8, 4: 18.5, 6: 22.5, 8: 26.1}
_NEAREST_M = 10.0
# A field fire is seldom noticed much farther away than this: vendors give 2 to 5 km by day. Farther places weigh less.
_USEFUL_M = 6_000.0


def _draws(count: int) -> Array:
    """``count`` × 4 points spread evenly over the unit cube, the same each time: the additive recurrence of the powers
    of 1/g with g⁵ = g + 1 (Roberts 2018)."""
    g = 1.1673039782614187
    found: Array = (0.5 + np.outer(np.arange(1, count + 1), [g**-1, g**-2, g**-3, g**-4])) % 1
    return found


_EVEN = _draws(DRAWS)
_UNIT = np.array([[NormalDist().inv_cdf(value) for value in row] for row in _EVEN[:, :3].tolist()])
# Ranges at which a ray is compared with the ground: steps of 2 %, 60 m at 3 km, but not below half a tile's cell.
_STEPS = np.concatenate([np.arange(30.0, 750.0, 15.0), np.geomspace(750.0, MAX_RANGE_M, 166)])
_STEPS32 = _STEPS.astype(np.float32)
_FALL = _STEPS**2 / (2 * CURVE_RADIUS_M)
_PROFILES = 7


@dataclass(frozen=True, slots=True)
class Region:
    """Where a fire may be.

    ``place``: the best point and its ellipse; a bearing alone has no ``points``. ``points``: n × 2 (longitude,
    latitude), equally probable. ``misfit``: how ill the sights fit the best point (chi-squared).
    """

    place: Place
    sights: tuple[Sight, ...]
    points: Array
    misfit: float
    terrain: Terrain | None

    def contains(self, lat: float, lon: float, level: float = 0.9) -> bool:
        """Whether a place belongs to the region that holds the fire with this probability. A bearing alone has none."""
        if self.place.lat is None:
            return False
        if any(distance_m(one.lat, one.lon, lat, lon) > MAX_RANGE_M for one in self.sights):
            return False
        found = sum(_square(_residual(one, lat, lon, self.terrain)) for one in self.sights)
        return found - self.misfit <= -2 * math.log(1 - level)


def region(sights: Sequence[Sight], terrain: Terrain | None = None) -> Region:
    """The region that one or several sights of one fire give, one sight per camera.

    On ``terrain`` for those cameras whose altitude is registered, else on flat ground. A bearing alone (of the first
    sight) when a single foot is at or above the horizon, beyond 20 km, below the picture, or its ray crosses ground
    whose height is unknown; the same for several none of which is placed, or that disagree beyond chance.
    """
    singles = [_single(one, terrain) for one in sights]
    placed = [one for one in singles if one.place.lat is not None]
    if len(sights) == 1 or not placed:
        return singles[0]
    crossed = _cross(tuple(one.sights[0] for one in placed), placed, terrain) if len(placed) > 1 else placed[0]
    return crossed or Region(Place(sights[0].bearing), tuple(sights), np.empty((0, 2)), 0.0, terrain)


def _single(one: Sight, terrain: Terrain | None) -> Region:
    ground = terrain if one.altitude_m is not None else None
    nowhere = Region(Place(one.bearing), (one,), np.empty((0, 2)), 0.0, ground)
    if not one.foot_seen:
        return nowhere
    lower = one.correlation * _UNIT[:, 0] + math.sqrt(1 - one.correlation**2) * _UNIT[:, 1]
    # The central ray goes first, the draws follow.
    bearings = one.bearing + one.bearing_sd * np.append(0.0, _UNIT[:, 0])
    depressions = one.depression + one.depression_sd * np.append(0.0, lower)
    lifts = _height_error(one, ground) * np.append(0.0, _UNIT[:, 2])
    ranges = _on_plain(one, depressions, lifts) if ground is None else _cast(one, ground, bearings, depressions, lifts)
    if math.isnan(ranges[0]):
        return nowhere
    hit = np.append(False, _noticed(ranges[1:]))
    turns = np.radians(bearings)
    lats, lons = Tangent.at(one.lat, one.lon).to_degrees(ranges * np.sin(turns), ranges * np.cos(turns))
    range_m = float(ranges[0])
    place = Place(
        one.bearing % 360,
        float(lats[0]),
        float(lons[0]),
        range_m,
        _half_width(ranges[hit], range_m),
        math.hypot(range_m * math.radians(one.bearing_sd), POSITION_ERROR_M),
    )
    return _region(place, (one,), lats[hit], lons[hit], 0.0, ground)


def _region(
    place: Place, sights: tuple[Sight, ...], lats: Array, lons: Array, misfit: float, terrain: Terrain | None
) -> Region:
    """A region with its cloud, which the place carries too: in metres east and north of it."""
    assert place.lat is not None
    assert place.lon is not None
    plane = Tangent.at(place.lat, place.lon)
    east, north = within(lons - place.lon) * plane.per_lon, (lats - place.lat) * plane.per_lat
    cloud = tuple(zip(np.rint(east).astype(int).tolist(), np.rint(north).astype(int).tolist(), strict=True))
    return Region(replace(place, cloud=cloud), sights, np.column_stack([lons, lats]), misfit, terrain)


def _noticed(ranges: Array) -> NDArray[np.bool_]:
    """Which draws stay when far ones are thinned as their fires would be noticed less; at least the likeliest does."""
    share = np.where(np.isnan(ranges), 0.0, 1 / (1 + (ranges / _USEFUL_M) ** 8))
    kept: NDArray[np.bool_] = share > _EVEN[:, 3] * share.max()
    return kept


def _half_width(ranges: Array, range_m: float) -> float:
    """One standard deviation along the line of sight, by the ranges' 16th and 84th hundredths."""
    if len(ranges) < 2:
        return POSITION_ERROR_M
    near, far = np.interp([0.16, 0.84], np.linspace(0, 1, len(ranges)), np.sort(ranges))
    return max(float(far - near) / 2, POSITION_ERROR_M)


def _height_error(one: Sight, ground: Terrain | None) -> float:
    return one.height_error if ground is None else math.hypot(one.height_error, TERRAIN_ERROR_M)


def _on_plain(one: Sight, depressions: Array, lifts: Array) -> Array:
    ranges = [
        ground_range(one.height_m + lift, depression) or math.nan
        for depression, lift in zip(depressions.tolist(), lifts.tolist(), strict=True)
    ]
    return np.array(ranges)


def _cast(one: Sight, ground: Terrain, bearings: Array, depressions: Array, lifts: Array) -> Array:
    """Ranges at which rays meet the ground, NaN where they do not within reach or pass ground of unknown height first.

    The ground's profile is read along seven bearings, each ray takes the nearest: within the bearing's error the ground
    is known no better.
    """
    assert one.altitude_m is not None
    fan = np.linspace(bearings.min(), bearings.max(), _PROFILES)
    turns = np.radians(fan)[:, None]
    lats, lons = Tangent.at(one.lat, one.lon).to_degrees(_STEPS * np.sin(turns), _STEPS * np.cos(turns))
    profiles = ground.elevation(lats.ravel(), lons.ravel()).reshape(lats.shape) - _FALL - one.altitude_m
    unknown = np.isnan(profiles)
    known = np.where(unknown.any(axis=1), unknown.argmax(axis=1), len(_STEPS))
    nearest = np.rint((bearings - fan[0]) / (fan[1] - fan[0])).astype(np.intp)
    slopes = np.tan(np.radians(depressions))
    first, last = _window(profiles, slopes, lifts)
    steps = _STEPS[first:last]
    # How far the ground stands above the ray at each step; the first that is not negative is the hit.
    above = profiles[:, first:last].astype(np.float32)[nearest]
    above += np.multiply.outer(slopes.astype(np.float32), _STEPS32[first:last])
    above -= lifts.astype(np.float32)[:, None]
    under = above >= 0
    step = under.argmax(axis=1)
    rays = np.arange(len(step))
    before = np.maximum(step - 1, 0)
    high, low = above[rays, step], above[rays, before]
    share = np.divide(-low, high - low, out=np.ones_like(low), where=high > low)
    ranges: Array = steps[before] + share * (steps[step] - steps[before])
    # Under the ground from the start: the altitude is wrong, not the fire at the camera's foot.
    return np.where(under[rays, step] & (step + first > 0) & (step + first < known[nearest]), ranges, np.nan)


def _window(profiles: Array, slopes: Array, lifts: Array) -> tuple[int, int]:
    """The steps among which every ray meets the ground, from one before on: no ray does so before the steepest would
    from the lowest lens, nor after the flattest from the highest."""
    steepest = (profiles + slopes.max() * _STEPS >= lifts.min()).any(axis=0)
    flattest = profiles + slopes.min() * _STEPS >= lifts.max()
    first = int(steepest.argmax()) if steepest.any() else 0
    last = int(flattest.argmax(axis=1).max()) + 1 if flattest.any(axis=1).all() else len(_STEPS)
    return max(first - 1, 0), last


def _residual(one: Sight, lat: float, lon: float, terrain: Terrain | None) -> tuple[float, float]:
    """By how many standard deviations the camera saw the fire elsewhere than it would see it at this place."""
    east, north = Tangent.at(one.lat, one.lon).to_metres(lat, lon)
    range_m = max(math.hypot(east, north), _NEAREST_M)
    ground = terrain if one.altitude_m is not None else None
    drop: float | None = one.height_m
    if ground is not None and one.altitude_m is not None:
        height = ground.at(lat, lon)
        drop = None if height is None else one.altitude_m - height
    if drop is None:
        return math.inf, math.inf
    off_b = turn(one.bearing, math.degrees(math.atan2(east, north)))
    off_d = one.depression - depression_of(drop, range_m)
    sd_b = math.hypot(one.bearing_sd, math.degrees(POSITION_ERROR_M / range_m))
    sd_d = math.hypot(one.depression_sd, math.degrees(_height_error(one, ground) / range_m))
    joint = one.correlation * one.bearing_sd * one.depression_sd / (sd_b * sd_d)
    first = off_b / sd_b
    return first, (off_d / sd_d - joint * first) / math.sqrt(1 - joint * joint)


def _square(pair: tuple[float, float]) -> float:
    return pair[0] * pair[0] + pair[1] * pair[1]


def _cross(sights: tuple[Sight, ...], singles: Sequence[Region], terrain: Terrain | None) -> Region | None:
    """The place that fits all sights best by their errors; None when even that fits worse than chance allows."""

    def misfit(place: Place) -> float:
        assert place.lat is not None
        assert place.lon is not None
        return sum(_square(_residual(one, place.lat, place.lon, terrain)) for one in sights)

    start = min((*(one.place for one in singles), *_crossings(sights)), key=misfit)
    assert start.lat is not None
    assert start.lon is not None
    plane = Tangent.at(start.lat, start.lon)

    def residuals(at: Array) -> Array:
        lat, lon = plane.lat + at[1] / plane.per_lat, within(plane.lon + at[0] / plane.per_lon)
        return np.array([_residual(one, lat, lon, terrain) for one in sights]).ravel()

    solved = least_squares(residuals, np.zeros(2), step=10.0)
    if solved is None or solved.misfit > _DISAGREE.get(2 * len(sights) - 2, 4.0 * len(sights)):
        return None
    (east, north), covariance = solved.at, solved.covariance
    spread, axes = np.linalg.eigh(covariance)
    lat, lon = plane.lat + float(north) / plane.per_lat, within(plane.lon + float(east) / plane.per_lon)
    if any(distance_m(one.lat, one.lon, lat, lon) > MAX_RANGE_M for one in sights):
        return None
    axis = math.degrees(math.atan2(axes[0, 1], axes[1, 1])) % 180
    across_m, along_m = (max(math.sqrt(max(value, 0.0)), 1.0) for value in spread.tolist())
    first = sights[0]
    place = Place(axis, lat, lon, distance_m(first.lat, first.lon, lat, lon), along_m, across_m)
    offsets = solved.at + _UNIT[:, :2] @ (axes * np.sqrt(np.maximum(spread, 0.0))).T
    lats, lons = plane.to_degrees(offsets[:, 0], offsets[:, 1])
    return _region(place, sights, lats, lons, solved.misfit, terrain)


def _crossings(sights: Sequence[Sight]) -> list[Place]:
    """Where the bearings of two cameras cross ahead of both, for each pair."""
    found = []
    for one, other in itertools.combinations(sights, 2):
        plane = Tangent.at(one.lat, one.lon)
        east, north = plane.to_metres(other.lat, other.lon)
        a, b = math.radians(one.bearing), math.radians(other.bearing)
        across = math.sin(b - a)
        if abs(across) < 0.05:
            continue
        ahead = (north * math.sin(b) - east * math.cos(b)) / across
        beyond = (north * math.sin(a) - east * math.cos(a)) / across
        if 0 < ahead < MAX_RANGE_M and 0 < beyond < MAX_RANGE_M:
            lat, lon = plane.lat + ahead * math.cos(a) / plane.per_lat, plane.lon + ahead * math.sin(a) / plane.per_lon
            found.append(Place(one.bearing, lat, within(lon)))
    return found
