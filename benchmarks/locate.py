# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench locate``: how well a fire is placed, against ground truth.

Fires are put down at random in the demo region, evenly by range 0.5 to 5 km from a 40 m mast, and projected into its
picture by the camera simulator's geometry; the server sees only the box and the mount's registered angles, which are
wrong by errors drawn from the stated distributions. The ground curves away and the air bends light as usual. The hills
are a seeded landscape; the server reads SRTM tiles of it that are themselves wrong by 6 m.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from benchmarks import figures
from benchmarks.hills import write_hills
from camera_sim.geometry import View as Lens
from camera_sim.geometry import from_bearing_range, to_bearing_range
from dispatch.responsible import Candidate, RegionIndex
from server.domain.place import CURVE_RADIUS_M, View
from server.locate.region import POSITION_ERROR_M, TERRAIN_ERROR_M, Region, region
from server.locate.sight import FOOT_JITTER, FOOT_SHARE_X, FOOT_SHARE_Y, ROLL_ERROR, Sight, sight
from server.locate.terrain import Terrain, open_terrain

DEMO = Path(__file__).resolve().parents[1] / "demo" / "region"
MAST_M, WIDTH, HEIGHT = 40.0, 1280, 720
ASPECT = WIDTH / HEIGHT
HFOV = 32.0
# What the mount gets wrong, one standard deviation: degrees, degrees, metres, a fraction.
MOUNT = (0.5, 0.2, 3.0, 0.02)
# The same after a calibration by landmarks and with the lens's height surveyed.
CALIBRATED = (0.1, 0.05, 0.5, 0.005)
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
        self._townships = RegionIndex(*_split(_outlines("townships")))

    def township(self, lat: float, lon: float) -> str:
        """The code of the township that a point truly lies in; empty between outlines."""
        found = self._townships.rank_points(np.array([[lon, lat]]))
        return found[0].code if found else ""

    def height(self, lat: float, lon: float) -> float:
        """Metres above sea level."""
        return (self.truth.at(lat, lon) or 0.0) if self.truth else 0.0

    def fire(self, random: Random, cameras: int, wrong: float, mount: tuple[float, ...]) -> Fire:
        """A fire somewhere in the region, seen by so many cameras that stand 30 to 150° apart. The mounts' errors are
        ``wrong`` times ``mount``, which is what the server believes."""
        while True:
            west, south, east, north = self.whole.bounds
            lat, lon = random.uniform(south, north), random.uniform(west, east)
            if not shapely.contains_xy(self.whole, lon, lat) or not self.township(lat, lon):
                continue
            first = random.uniform(0, 360)
            away = [first + number * random.uniform(30, 150) for number in range(cameras)]
            ranges = [random.uniform(NEAREST_M, FARTHEST_M) for _ in away]
            masts = [from_bearing_range(lat, lon, turn, far) for turn, far in zip(away, ranges, strict=True)]
            seen = [self.see(random, f"mast-{n}", mast, (lat, lon), wrong, mount) for n, mast in enumerate(masts)]
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
    ) -> Sight | None:
        """What the mast's camera makes of the fire; None when a hill hides it or it falls out of the picture."""
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
        return sight(name, believed, box, ASPECT)

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one fire was placed; ``off_m`` is None for a bearing alone."""

    inside: bool = False
    first: bool = False
    first_two: bool = False
    first_by_ellipse: bool = False
    off_m: float | None = None


def judge(world: World, fires: Sequence[Fire]) -> dict[str, Any]:
    """Coverage of the stated region and the township's rank, over all fires and by range."""
    bins: dict[str, list[Verdict]] = defaultdict(list)
    for fire in fires:
        verdict = _verdict(world, fire, region(fire.sights, world.terrain))
        bins["all"].append(verdict)
        near = math.floor(fire.range_m / 1000)
        bins[f"{near}-{near + 1} km"].append(verdict)
    return {name: _shares(bins[name]) for name in sorted(bins, reverse=True)}


def _verdict(world: World, fire: Fire, found: Region) -> Verdict:
    place = found.place
    if place.lat is None or place.lon is None:
        return Verdict()
    truth = world.township(fire.lat, fire.lon)
    order = _townships(world.index.rank_points(found.points))
    ellipse = world.index.rank(
        place.lat, place.lon, bearing=place.bearing, along_m=place.along_m or 0.0, across_m=place.across_m or 0.0
    )
    return Verdict(
        inside=found.contains(fire.lat, fire.lon),
        first=order[:1] == [truth],
        first_two=truth in order[:2],
        first_by_ellipse=_townships(ellipse)[:1] == [truth],
        off_m=to_bearing_range(fire.lat, fire.lon, place.lat, place.lon)[1],
    )


def _townships(ranked: Sequence[Candidate]) -> list[str]:
    """Townships by their villages' probability, most probable first."""
    shares: dict[str, float] = defaultdict(float)
    for one in ranked:
        if not one.code.startswith("overlay"):
            shares[one.code[:9]] += one.probability
    return sorted(shares, key=lambda code: -shares[code])


def _shares(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    placed = [one for one in verdicts if one.off_m is not None]
    n = len(placed)
    return {
        "fires": len(verdicts),
        "bearing_alone": len(verdicts) - n,
        "in_90_region": _share(sum(one.inside for one in placed), n),
        "township_first": _share(sum(one.first for one in placed), n),
        "township_first_by_ellipse": _share(sum(one.first_by_ellipse for one in placed), n),
        "township_in_first_two": _share(sum(one.first_two for one in placed), n),
        "error_m": {name: round(figures.percentile([one.off_m or 0.0 for one in placed], at)) for name, at in _POINTS},
    }


_POINTS = (("p50", 0.5), ("p90", 0.9))


def _share(hits: int, n: int) -> dict[str, Any]:
    """A share with Wilson's 95 % interval."""
    z, share = 1.96, hits / n
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    bounds = [round((middle + sign * half) / (1 + z * z / n), 4) for sign in (-1, 1)]
    return {"share": round(share, 4), "n": n, "interval_95": bounds}


def clock(world: World, fires: Sequence[Fire]) -> dict[str, Any]:
    """Milliseconds from a line of sight to ranked grids, each fire once, by the wall's clock and by the processor's
    (which stands still while others run); the first ten are not counted."""
    wall, processor = [], []
    gc.disable()
    try:
        for fire in fires:
            start, own = time.perf_counter(), time.thread_time()
            world.index.rank_points(region(fire.sights[:1], world.terrain).points)
            processor.append((time.thread_time() - own) * 1000)
            wall.append((time.perf_counter() - start) * 1000)
    finally:
        gc.enable()
    return {"wall": figures.spread(wall[10:]), "processor": figures.spread(processor[10:])}


def _fires(
    world: World, seed: int, n: int, *, cameras: int = 1, wrong: float = 1.0, mount: tuple[float, ...] = MOUNT
) -> list[Fire]:
    random = np.random.default_rng([seed, cameras, round(wrong * 100), world.terrain is not None])
    return [world.fire(random, cameras, wrong, mount) for _ in range(n)]


def measure(n: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every figure by name."""
    plain = World(None, None)
    with tempfile.TemporaryDirectory() as true, tempfile.TemporaryDirectory() as supplied:
        write_hills(Path(true), seed, 0.0)
        write_hills(Path(supplied), seed, TERRAIN_ERROR_M)
        hills = World(open_terrain(Path(true)), open_terrain(Path(supplied)))
        for name, world in (("plain", plain), ("hills", hills)):
            fires = _fires(world, seed, n)
            yield f"{name}, one camera", judge(world, fires)
            yield f"{name}, two cameras", judge(world, _fires(world, seed, n, cameras=2))
            yield f"{name}, one calibrated camera", judge(world, _fires(world, seed, n, mount=CALIBRATED))
            yield f"{name}, errors 1.5 times as large as stated", judge(world, _fires(world, seed, n, wrong=1.5))
            yield f"{name}, milliseconds from sight to ranked grids", clock(world, fires)


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="straw1530 bench locate", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--fires", type=int, default=1000, help="how many fires per figure")
    parser.add_argument("--seed", type=int, default=1530)
    args = parser.parse_args(argv)
    found = dict(measure(args.fires, args.seed))
    setting = {"fires": args.fires, "seed": args.seed, "outlines": OUTLINES, "processor": _processor()}
    figures.write(args.json, "locate", {"setting": setting} | found)
    return 0
