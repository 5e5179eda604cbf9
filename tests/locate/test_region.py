# SPDX-License-Identifier: AGPL-3.0-or-later
"""From what cameras saw to a region on the ground."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camera_sim.geometry import to_bearing_range
from server.domain.errors import Invalid
from server.domain.place import depression_of, ground_range
from server.locate.ground import within
from server.locate.region import POSITION_ERROR_M, region
from server.locate.sight import Sight, sight
from server.locate.terrain import open_terrain
from tests.locate.make import ASPECT, MAST, away, look, towards, view, write_hgt

BOX = (0.49, 0.44, 0.51, 0.52)


@pytest.mark.parametrize("range_m", [500.0, 1500.0, 3000.0, 5000.0])
@pytest.mark.parametrize("bearing", [80.0, 90.0, 102.0])
def test_an_exact_sight_finds_the_fire(bearing: float, range_m: float) -> None:
    """Anywhere in the picture, by the simulator's projection with the earth's curve."""
    lat, lon = away(bearing, range_m)
    place = region([look(view(), lat, lon)]).place
    assert place.lat is not None
    assert place.lon is not None
    assert to_bearing_range(lat, lon, place.lat, place.lon)[1] < 0.003 * range_m
    assert place.bearing == pytest.approx(bearing, abs=0.01)


def test_depression_and_range_invert_each_other() -> None:
    """The curve is the same in both directions."""
    for range_m in (100.0, 2_000.0, 15_000.0):
        assert ground_range(40, depression_of(40, range_m)) == pytest.approx(range_m)


def test_a_leaning_camera_is_put_upright() -> None:
    """Rolled by five degrees, the picture's right side sinks; knowing the roll, the line of sight is the same."""
    lean = math.radians(5)
    x, y = 0.2, 0.05  # of the frame's width, from the middle, upright
    turned = (x * math.cos(lean) + y * math.sin(lean), -x * math.sin(lean) + y * math.cos(lean))

    def seen(x: float, y: float, roll: float) -> Sight:
        bottom = 0.5 + y * ASPECT
        return sight("a", view(roll=roll), (0.5 + x - 0.01, bottom - 0.1, 0.5 + x + 0.01, bottom), ASPECT)

    upright, leaning = seen(x, y, 0.0), seen(*turned, 5.0)
    assert (leaning.bearing, leaning.depression) == pytest.approx((upright.bearing, upright.depression))
    assert seen(*turned, 0.0).depression != pytest.approx(upright.depression, abs=0.5)


def test_the_stated_region_holds_nine_of_ten() -> None:
    """Over many mounts that are wrong as stated the truth is inside 88 to 92 times of 100, near and far."""
    random = np.random.default_rng(7)
    for range_m in (800.0, 4000.0):
        lat, lon = away(90, range_m)
        true = look(view(), lat, lon)
        inside = total = 0
        for off_b, off_d, off_m in random.normal(size=(2000, 3)):
            seen = replace(
                true,
                bearing=true.bearing + off_b * math.hypot(true.bearing_sd, math.degrees(POSITION_ERROR_M / range_m)),
                depression=true.depression + off_d * true.depression_sd,
                height_m=40 + 3 * off_m,
                correlation=0.0,
            )
            found = region([seen])
            total += found.place.lat is not None
            inside += found.contains(lat, lon)
        assert total > 1800
        assert 0.88 <= inside / total <= 0.92


def test_a_region_of_less_is_smaller() -> None:
    """Half the probability is inside nine tenths of it."""
    lat, lon = away(90, 2000)
    found = region([look(view(), lat, lon)])
    half, most = (sum(found.contains(y, x, level) for x, y in found.points) for level in (0.5, 0.9))
    assert 0 < half < most < len(found.points)
    assert found.contains(lat, lon, 0.01)


def test_the_far_side_is_longer_than_the_near_side() -> None:
    """At 3 km the fire may rather be 1 km beyond than 1 km before: the cloud says so, an ellipse cannot."""
    lat, lon = away(90, 3000)
    points = region([look(view(), lat, lon)]).points
    ranges = np.array([to_bearing_range(*MAST, y, x)[1] for x, y in points])
    near, far = np.quantile(ranges, [0.1, 0.9])
    assert far - 3000 > 1.3 * (3000 - near)


def test_two_cameras_fix_the_place() -> None:
    """Where two bearings cross, what one camera leaves open along its line of sight is closed by the other."""
    lat, lon = away(90, 3000)
    other = towards(away(150, 2500), lat, lon)
    one, two = look(view(), lat, lon), look(other, lat, lon, camera="tower-2")
    alone, both = region([one]).place, region([one, two]).place
    assert both.lat is not None
    assert both.lon is not None
    assert both.along_m is not None
    assert alone.along_m is not None
    assert to_bearing_range(lat, lon, both.lat, both.lon)[1] < 5
    assert both.along_m < alone.along_m / 10
    assert region([two, one]).place.lat == pytest.approx(both.lat, abs=1e-6)


def test_cameras_that_look_at_two_fires_do_not_agree() -> None:
    """Two fires 2 km apart do not make a third between them: bearing alone."""
    other = towards(away(150, 2500), *away(90, 3000))
    one = look(view(), *away(90, 800))
    two = look(other, *away(90, 3000), camera="tower-2")
    crossed = region([one, two])
    assert crossed.place.lat is None
    assert crossed.points.size == 0


def test_three_cameras_are_better_than_two() -> None:
    """Each adds what it knows."""
    lat, lon = away(90, 3000)
    sights = [look(view(), lat, lon)]
    for number, mast in enumerate((away(150, 2500), away(40, 2500))):
        sights.append(look(towards(mast, lat, lon), lat, lon, camera=f"tower-{number}"))
    two, three = region(sights[:2]), region(sights)
    assert two.place.along_m is not None
    assert three.place.along_m is not None
    assert three.place.along_m < two.place.along_m
    assert three.contains(lat, lon)


NOWHERE: dict[str, tuple[dict[str, float], tuple[float, float, float, float]]] = {
    "above the horizon": ({"tilt": 2.0}, BOX),
    "at the horizon": ({"tilt": 0.0}, (0.49, 0.4, 0.51, 0.5)),
    "above the horizon's dip": ({"tilt": -0.15}, (0.49, 0.4, 0.51, 0.5)),
    "beyond 20 km": ({"tilt": -0.5, "height_m": 200.0}, (0.49, 0.4, 0.51, 0.5)),
    "the foot below the picture": ({}, (0.4, 0.7, 0.6, 1.0)),
}


@pytest.mark.parametrize("case", NOWHERE)
def test_what_cannot_be_placed_is_a_bearing_alone(case: str) -> None:
    """There is no default position, and no region that holds any."""
    changes, box = NOWHERE[case]
    found = region([sight("tower-1", view(**changes), box, ASPECT)])
    place = found.place
    assert place.bearing == pytest.approx(90, abs=0.5)
    assert (place.lat, place.lon, place.range_m, place.along_m) == (None, None, None, None)
    assert found.points.size == 0
    assert not found.contains(*away(90, 2000))


@pytest.mark.parametrize(
    ("changes", "box", "aspect"),
    [
        ({"pan": math.nan}, BOX, ASPECT),
        ({"tilt": math.inf}, BOX, ASPECT),
        ({"tilt": -91.0}, BOX, ASPECT),
        ({"hfov": 0.0}, BOX, ASPECT),
        ({"hfov": 180.0}, BOX, ASPECT),
        ({"height_m": 0.0}, BOX, ASPECT),
        ({"height_m": -40.0}, BOX, ASPECT),
        ({"lat": 99.0}, BOX, ASPECT),
        ({"tilt_error": 0.0}, BOX, ASPECT),
        ({"altitude_m": math.nan}, BOX, ASPECT),
        ({}, (0.5, 0.5, 0.4, 0.6), ASPECT),
        ({}, (0.4, 0.5, 0.5, 1.2), ASPECT),
        ({}, (0.4, math.nan, 0.5, 0.6), ASPECT),
        ({}, BOX, 0.0),
        ({}, BOX, math.inf),
    ],
)
def test_a_wrong_number_never_becomes_a_position(
    changes: dict[str, Any], box: tuple[float, float, float, float], aspect: float
) -> None:
    """It is refused in words."""
    with pytest.raises(Invalid):
        sight("tower-1", view(**changes), box, aspect)


def test_a_sight_survives_the_journal() -> None:
    """Written as JSON and read back it gives the same region."""
    seen = look(view(), *away(95, 2500))
    again = Sight.from_data(seen.to_data())
    first, second = region([seen]).place, region([again]).place
    assert (second.lat, second.lon) == pytest.approx((first.lat, first.lon), abs=1e-6)


def test_east_of_the_date_line_longitudes_begin_anew(tmp_path: Path) -> None:
    """On Fiji as anywhere: by one camera, by two that stand on either side, and on its tiles."""
    for name in ("S18E179", "S18W180", "S18E010"):
        write_hgt(tmp_path, lambda lats, lons: 100 + 0 * lats * lons, name)
    terrain = open_terrain(tmp_path)

    def seen(lon: float, altitude_m: float | None = None) -> list[Sight]:
        first, second = (
            view(pan=pan, lat=-17.5, lon=within(lon + off), altitude_m=altitude_m)
            for pan, off in ((90.0, 0.0), (270.0, 0.0296))
        )
        boxes = (0.49, 0.45, 0.51, 0.52), (0.49, 0.45, 0.51, 0.53)
        return [sight(f"tower-{n}", v, b, ASPECT) for n, (v, b) in enumerate(zip((first, second), boxes, strict=True))]

    east, west = 179.9843, 10.5
    for home, there in (
        (region(seen(west)[:1]), region(seen(east)[:1])),
        (region(seen(west)), region(seen(east))),
        (region(seen(west, 140.0), terrain), region(seen(east, 140.0), terrain)),
    ):
        assert home.place.lon is not None
        assert there.place.lon == pytest.approx(within(home.place.lon - west + east))
        assert there.place.cloud == home.place.cloud
        assert (abs(there.points[:, 0]) <= 180).all()
