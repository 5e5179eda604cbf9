# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fires whose place is known, as cameras with wrong mounts report them: in the demo region, on a plain or in hills."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from camera_sim.geometry import View as Lens
from camera_sim.geometry import from_bearing_range, to_bearing_range
from dispatch.responsible import RegionIndex
from server.domain.errors import Invalid
from server.domain.place import CURVE_RADIUS_M, View
from server.locate.calibrate import CLICK_PX, REPEAT_DEG, Landmark, calibrate, mended
from server.locate.ground import Tangent
from server.locate.region import POSITION_ERROR_M
from server.locate.sight import FOOT_JITTER, FOOT_SHARE_X, FOOT_SHARE_Y, ROLL_ERROR, Sight, sight
from server.locate.terrain import Terrain

DEMO = Path(__file__).resolve().parents[1] / "demo" / "region"
MAST_M, WIDTH, HEIGHT = 40.0, 1280, 720
ASPECT = WIDTH / HEIGHT
HFOV = 32.0
# What the mount gets wrong, one standard deviation: degrees, degrees, metres, a fraction.
MOUNT = (0.5, 0.2, 3.0, 0.02)
# What a calibration begins with where the lens's height was measured with a tape, too.
MEASURED = (0.5, 0.2, 0.5, 0.02)
# The landmarks of a calibration: so many points on the ground (crossings, corners of ponds) spread over the picture,
# known on a map and in height to so many metres.
LANDMARKS, ON_MAP_M, IN_HEIGHT_M = 7, 3.0, 1.0
NEAREST_M, FARTHEST_M = 500.0, 5_000.0
# 2,000 outlines: the demo region's 1,664 villages and a grid of squares over the rest of its bounding box.
OUTLINES = 2_000
Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Fire:
    """A fire and the sights of it, the nearest camera's first."""

    lat: float
    lon: float
    range_m: float
    sights: tuple[Sight, ...]


class World:
    """The demo region, and the ground it lies on: ``truth`` as it is, ``terrain`` as the tiles say; None: a plain."""

    def __init__(self, truth: Terrain | None, terrain: Terrain | None) -> None:
        self.truth = truth
        self.terrain = terrain
        villages = _outlines("villages")
        self.index = RegionIndex(*_filled(villages))
        self.whole = shapely.union_all([outline for _, outline in _outlines("counties")])
        shapely.prepare(self.whole)
        codes, outlines = _split(_outlines("townships"))
        self._townships = RegionIndex(codes, outlines)
        self._codes, self._tree = codes, shapely.STRtree(outlines)

    def township(self, lat: float, lon: float) -> str:
        """The code of the township that a point truly lies in; empty between outlines."""
        found = self._townships.rank_points(np.array([[lon, lat]]))
        return found[0].code if found else ""

    def best_guess(self, one: Sight) -> str:
        """The township in which the fire most probably is, on a plain, for who knows everything but the errors drawn:
        how ranges are spread beforehand, and the errors' distributions. No ranking can be right more often."""
        ranges = np.linspace(NEAREST_M, FARTHEST_M, 151)[:, None]
        turns = np.linspace(-4, 4, 41)
        sd = np.hypot(one.depression_sd, np.degrees(one.height_error / ranges))
        seen = np.degrees(np.arctan(one.height_m / ranges + ranges / (2 * CURVE_RADIUS_M)))
        off = one.depression - seen - one.correlation * one.depression_sd * turns
        sd = np.sqrt(np.maximum(sd**2 - (one.correlation * one.depression_sd) ** 2, 1e-12))
        weights = np.exp(-(turns**2) / 2 - (off / sd) ** 2 / 2) / sd
        bearings = np.radians(one.bearing - turns * one.bearing_sd)
        plane = Tangent.at(one.lat, one.lon)
        lats, lons = plane.to_degrees(ranges * np.sin(bearings), ranges * np.cos(bearings))
        spots, towns = self._tree.query(shapely.points(lons.ravel(), lats.ravel()), predicate="within")
        sums = np.bincount(towns, weights.ravel()[spots])
        return self._codes[int(sums.argmax())] if len(sums) else ""

    def height(self, lat: float, lon: float) -> float:
        """Metres above sea level."""
        return (self.truth.at(lat, lon) or 0.0) if self.truth else 0.0

    def fire(self, random: Random, cameras: int, wrong: float, mount: tuple[float, ...], calibrated: bool) -> Fire:
        """A fire somewhere in the region, seen by so many cameras that stand 30 to 150° apart. The mounts' errors are
        ``wrong`` times ``mount``, which is what the server believes, or what a calibration leaves of them."""
        while True:
            west, south, east, north = self.whole.bounds
            lat, lon = random.uniform(south, north), random.uniform(west, east)
            if not shapely.contains_xy(self.whole, lon, lat) or not self.township(lat, lon):
                continue
            first = random.uniform(0, 360)
            away = [first + number * random.uniform(30, 150) for number in range(cameras)]
            ranges = [random.uniform(NEAREST_M, FARTHEST_M) for _ in away]
            masts = [from_bearing_range(lat, lon, turn, far) for turn, far in zip(away, ranges, strict=True)]
            seen = [
                self.see(random, f"mast-{n}", mast, (lat, lon), wrong, mount, calibrated)
                for n, mast in enumerate(masts)
            ]
            if all(seen):
                return Fire(lat, lon, ranges[0], tuple(one for one in seen if one is not None))

    def see(
        self,
        random: Random,
        name: str,
        mast: tuple[float, float],
        fire: tuple[float, float],
        wrong: float,
        mount: tuple[float, ...],
        calibrated: bool,
    ) -> Sight | None:
        """What the mast's camera makes of the fire; None when a hill hides it, it falls out of the picture, or the
        landmarks do not fix the camera."""
        bearing, far = to_bearing_range(*mast, *fire)
        eye = self.height(*mast) + MAST_M
        up = self.height(*fire) - self.height(*mast) - far**2 / (2 * CURVE_RADIUS_M)
        if self.truth is not None and not self._open(mast, fire, eye, far):
            return None
        # Where the mount truly looks, and what the server believes.
        down = math.degrees(math.atan2(up - MAST_M, far))
        lens = Lens(
            (bearing + random.uniform(-0.4, 0.4) * HFOV) % 360,
            down + random.uniform(-5, 5),
            HFOV,
            WIDTH,
            HEIGHT,
            MAST_M,
        )
        right, forward = lens.axes(bearing, far)
        x, y, _ = (float(value) for value in lens.project(right, forward, up))
        box = self._box(random, x / WIDTH, y / HEIGHT, far, wrong)
        if box is None:
            return None
        surveyed = self._surveyed(mast)
        pan, tilt, mast_m, field = wrong * random.normal(size=4) * mount
        believed = View(
            *from_bearing_range(*mast, random.uniform(0, 360), wrong * POSITION_ERROR_M * random.rayleigh()),
            MAST_M + mast_m,
            lens.pan_deg + pan,
            lens.tilt_deg + tilt,
            HFOV * (1 + field),
            mount[0],
            mount[1],
            wrong * ROLL_ERROR * random.normal(),
            mount[2],
            mount[3],
            None if surveyed is None else surveyed + mast_m,
        )
        if calibrated:
            try:
                believed = self._calibrated(random, lens, mast, eye, believed)
            except Invalid:
                return None
        return sight(name, believed, box, ASPECT)

    def _calibrated(self, random: Random, lens: Lens, mast: tuple[float, float], eye: float, believed: View) -> View:
        """What clicking landmarks leaves of the mount's errors: the same solution as on the page, from points whose
        place, height and pixel are a little wrong, and a mount that does not quite come back to where it stood."""
        stated = replace(believed, roll=0.0)
        found: list[Landmark] = []
        while len(found) < LANDMARKS:
            bearing = lens.pan_deg + random.uniform(-0.45, 0.45) * HFOV
            far = math.exp(random.uniform(math.log(NEAREST_M), math.log(FARTHEST_M)))
            point = from_bearing_range(*mast, bearing, far)
            up = self.height(*point) - self.height(*mast) - far**2 / (2 * CURVE_RADIUS_M)
            x, y, _ = (float(value) for value in lens.project(*lens.axes(bearing, far), up))
            if not (0 < y < HEIGHT) or (self.truth is not None and not self._open(mast, point, eye, far)):
                continue
            lat, lon = from_bearing_range(*point, random.uniform(0, 360), ON_MAP_M * random.rayleigh())
            # As on the page: the ground's height by the tiles, on a plain none.
            height_m = self.terrain.at(lat, lon) if self.terrain else random.normal() * IN_HEIGHT_M
            x, y = x + random.normal() * CLICK_PX, y + random.normal() * CLICK_PX
            if height_m is not None and 0 <= x <= WIDTH and 0 <= y <= HEIGHT:
                found.append(Landmark(str(len(found)), x, y, lat, lon, height_m))
        right = mended(stated, calibrate(stated, WIDTH, HEIGHT, found))
        pan, tilt = random.normal(size=2) * REPEAT_DEG
        return replace(right, pan=right.pan + pan, tilt=right.tilt + tilt)

    def _surveyed(self, mast: tuple[float, float]) -> float | None:
        """The lens's altitude as the operator registers it: the mast above the tiles' ground at its foot."""
        ground = self.terrain.at(*mast) if self.terrain else None
        return None if ground is None else ground + MAST_M

    @staticmethod
    def _box(random: Random, x: float, y: float, far: float, wrong: float) -> tuple[float, float, float, float] | None:
        """A plume's box of 20 to 60 m by 20 to 80 m whose bottom centre misses the foot."""
        metres = 1 / (2 * far * math.tan(math.radians(HFOV / 2)))
        width, height = random.uniform(20, 60) * metres, random.uniform(20, 80) * metres * ASPECT
        off = wrong * random.normal(size=2)
        x += off[0] * math.hypot(FOOT_SHARE_X * width, FOOT_JITTER)
        y += off[1] * math.hypot(FOOT_SHARE_Y * height, FOOT_JITTER * ASPECT)
        box = (x - width / 2, y - height, x + width / 2, y)
        return box if box[0] > 0.01 and box[1] > 0.01 and box[2] < 0.99 and box[3] < 0.99 else None

    def _open(self, mast: tuple[float, float], fire: tuple[float, float], eye: float, far: float) -> bool:
        """Whether no ground stands in the way, looked at every 20 m."""
        assert self.truth is not None
        share = np.arange(20.0, far - 10, 20.0) / far
        ground = self.truth.elevation(mast[0] + share * (fire[0] - mast[0]), mast[1] + share * (fire[1] - mast[1]))
        ray = eye + share * (self.height(*fire) - far**2 / (2 * CURVE_RADIUS_M) - eye)
        return bool((ground - (share * far) ** 2 / (2 * CURVE_RADIUS_M) <= ray + 0.1).all())


def _outlines(layer: str) -> list[tuple[str, BaseGeometry]]:
    features = json.loads((DEMO / f"{layer}.geojson").read_text(encoding="utf-8"))["features"]
    return [(str(one["properties"]["code"]), shape(one["geometry"])) for one in features]


def _split(pairs: Sequence[tuple[str, BaseGeometry]]) -> tuple[list[str], list[BaseGeometry]]:
    return [code for code, _ in pairs], [outline for _, outline in pairs]


def _filled(villages: Sequence[tuple[str, BaseGeometry]]) -> tuple[list[str], list[BaseGeometry]]:
    """The villages, and squares that overlay them up to 2,000 outlines, so that a query has as many to look through."""
    codes, outlines = _split(villages)
    west, south, east, north = shapely.total_bounds(outlines)
    missing = OUTLINES - len(codes)
    side = math.ceil(math.sqrt(missing))
    wide, high = (east - west) / side, (north - south) / side
    for number in range(missing):
        row, column = divmod(number, side)
        x, y = west + column * wide, south + row * high
        codes.append(f"overlay-{number}")
        outlines.append(shapely.box(x, y, x + wide, y + high))
    return codes, outlines


def place(
    world: World,
    seed: int,
    n: int,
    *,
    cameras: int = 1,
    wrong: float = 1.0,
    mount: tuple[float, ...] = MOUNT,
    calibrated: bool = False,
) -> list[Fire]:
    """So many fires on a world; the same ones for the same seed."""
    random = np.random.default_rng([seed, cameras, round(wrong * 100), world.terrain is not None])
    return [world.fire(random, cameras, wrong, mount, calibrated) for _ in range(n)]
