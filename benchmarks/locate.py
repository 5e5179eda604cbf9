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
import math
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.fires import MEASURED, OUTLINES, Fire, World, place
from benchmarks.hills import write_hills
from camera_sim.geometry import to_bearing_range
from dispatch.responsible import Candidate
from server.locate.region import TERRAIN_ERROR_M, Region, region
from server.locate.terrain import open_terrain


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one fire was placed; ``off_m`` is None for a bearing alone."""

    inside: bool = False
    first: bool = False
    first_two: bool = False
    first_by_ellipse: bool = False
    first_at_best: bool | None = None
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
        first_at_best=world.best_guess(fire.sights[0]) == truth if len(fire.sights) == 1 and not world.truth else None,
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
        **_bound(placed),
        "township_in_first_two": _share(sum(one.first_two for one in placed), n),
        "error_m": {name: round(figures.percentile([one.off_m or 0.0 for one in placed], at)) for name, at in _POINTS},
    }


def _bound(placed: Sequence[Verdict]) -> dict[str, Any]:
    """How often the most that can be known of a single sight on a plain names the right township."""
    known = [one.first_at_best for one in placed if one.first_at_best is not None]
    return {"township_first_at_best": _share(sum(known), len(known))} if known else {}


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


_ROWS: dict[str, dict[str, Any]] = {
    "one camera": {},
    "one camera calibrated by landmarks": {"calibrated": True},
    "one camera calibrated by landmarks, its height measured": {"calibrated": True, "mount": MEASURED},
    "two cameras": {"cameras": 2},
    "two cameras calibrated by landmarks": {"cameras": 2, "calibrated": True},
    "one camera, errors 1.5 times as large as stated": {"wrong": 1.5},
}
_MILLISECONDS = "milliseconds from sight to ranked grids"


def measure(n: int, seed: int, only: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every figure by name; ``only`` those whose name contains this."""
    with tempfile.TemporaryDirectory() as true, tempfile.TemporaryDirectory() as supplied:
        write_hills(Path(true), seed, 0.0)
        write_hills(Path(supplied), seed, TERRAIN_ERROR_M)
        hills = World(open_terrain(Path(true)), open_terrain(Path(supplied)))
        for scene, world in (("plain", World(None, None)), ("hills", hills)):
            for row, how in _ROWS.items():
                if only in (name := f"{scene}, {row}"):
                    yield name, judge(world, place(world, seed, n, **how))
            if only in (name := f"{scene}, {_MILLISECONDS}"):
                yield name, clock(world, place(world, seed, n))


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
    parser.add_argument("--only", default="", metavar="TEXT", help="the figures whose name contains this")
    args = parser.parse_args(argv)
    found = dict(measure(args.fires, args.seed, args.only))
    setting = {"fires": args.fires, "seed": args.seed, "outlines": OUTLINES, "processor": _processor()}
    figures.write(args.json, "locate", {"setting": setting} | found)
    return 0
