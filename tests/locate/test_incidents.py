# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sightings of several cameras become one incident whose place they share."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import select

from camera_sim.geometry import to_bearing_range
from dispatch import region as dispatch_region
from dispatch.expand import Expander
from server.domain.lifecycle import Event
from server.locate.terrain import Terrain, open_terrain
from server.models import Camera, Incident
from server.services import opening, places, sightings
from tests.locate.make import ASPECT, MAST, away, foot, ridge, towards, view, write_hgt
from tests.support.world import COUNTY, World

FIRE = away(90, 2800)
SECOND = away(150, 2400)


@pytest.fixture
def two_towers(world: World) -> World:
    """A second tower south-east of the first."""
    with world.database.write() as session:
        session.add(
            Camera(
                id="tower-2",
                edge_id="edge-2",
                county_code=COUNTY,
                name="高家高点",
                lat=SECOND[0],
                lon=SECOND[1],
                height_m=40,
                pan=0,
                tilt=-1,
                hfov=32,
            )
        )
    return world


def see(
    world: World,
    camera: str,
    fire: tuple[float, float],
    *,
    up: float = 0.0,
    off: float = 0.0,
    terrain: Terrain | None = None,
) -> Incident:
    """A tower reports the fire; its pan is ``off`` by degrees."""
    mast, edge = (MAST, "edge-1") if camera == "tower-1" else (SECOND, "edge-2")
    looks = towards(mast, *fire)
    x, y = foot(looks, *fire, up)
    world.now += timedelta(seconds=10)
    report = sightings.Report(
        id=str(uuid.uuid4()),
        edge=edge,
        camera=camera,
        t0_earliest=None,
        t0_latest=world.now - timedelta(seconds=5),
        t1=world.now - timedelta(seconds=1),
        clock_offset_ms=0.0,
        clock_error_ms=50.0,
        confidence=0.7,
        box=(x - 0.01, y - 0.05, x + 0.01, y),
        aspect=ASPECT,
        view=(looks.pan + off, looks.tilt, looks.hfov),
        picture_sha256=None,
        message={},
    )
    with world.database.write() as session:
        code = sightings.record(session, report, world.now, terrain).incident.code
    with world.database.read() as session:
        return session.scalars(select(Incident).where(Incident.code == code)).one()


def gap(incident: Incident) -> float:
    """Metres between the incident's place and the fire."""
    assert incident.lat is not None
    assert incident.lon is not None
    return to_bearing_range(*FIRE, incident.lat, incident.lon)[1]


def test_a_second_tower_fixes_the_place(two_towers: World) -> None:
    """One incident; its place moves to where the lines of sight cross, and the journal holds how."""
    first = see(two_towers, "tower-1", FIRE, off=0.4)
    both = see(two_towers, "tower-2", FIRE, off=-0.4)
    assert both.code == first.code
    assert first.along_m is not None
    assert both.along_m is not None
    assert both.along_m < first.along_m / 5
    assert gap(both) < 60
    opened, joined = two_towers.journal(first.code)
    assert [opened.data[places.SIGHT]["camera"], joined.data[places.SIGHT]["camera"]] == ["tower-1", "tower-2"]
    assert joined.data[places.PLACE]["lat"] == both.lat


def test_the_same_tower_again_moves_nothing(two_towers: World) -> None:
    """Its mount is wrong in the same way each time, so it knows no better."""
    first = see(two_towers, "tower-1", FIRE)
    again = see(two_towers, "tower-1", FIRE, off=0.3)
    assert again.code == first.code
    assert (again.lat, again.lon, again.along_m) == (first.lat, first.lon, first.along_m)
    assert places.PLACE not in two_towers.journal(first.code)[-1].data


def test_another_fire_is_another_incident(two_towers: World) -> None:
    """Seen by the second tower alone and far from the first tower's."""
    first = see(two_towers, "tower-1", away(90, 900))
    other = see(two_towers, "tower-2", away(110, 3500))
    assert other.code != first.code


def test_the_place_of_a_fire_that_is_over_stays(two_towers: World) -> None:
    """A second tower's late word joins the incident and does not rewrite it."""
    first = see(two_towers, "tower-1", FIRE)
    two_towers.apply(first.code, Event.MARK_FALSE, "county", reason="fog")
    two_towers.now -= timedelta(seconds=12)  # confirmed before the word that it was fog
    late = see(two_towers, "tower-2", FIRE)
    assert late.code == first.code
    assert (late.lat, late.lon) == (first.lat, first.lon)


def test_a_calibrated_mount_is_set_right(two_towers: World) -> None:
    """What calibration found is added to what the camera states."""
    with two_towers.database.write() as session:
        camera = session.get_one(Camera, "tower-1")
        camera.pan_offset, camera.tilt_offset, camera.hfov_factor, camera.roll = -2.0, 0.3, 1.1, 1.0
        found = places.view(camera, (90.0, -1.0, 30.0))
    assert (found.pan, found.tilt, found.roll, found.hfov) == pytest.approx((88.0, -0.7, 1.0, 33.0))
    incident = see(two_towers, "tower-1", FIRE, off=2.0)
    assert incident.bearing is not None
    assert abs(incident.bearing - 90) < 0.2


def test_terrain_counts_for_a_tower_whose_altitude_is_known(two_towers: World, tmp_path: Path) -> None:
    """The same sighting lies on the hill with the altitude, far beyond it without."""
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    write_hgt(tiles, ridge(2950.0, 15.0))
    terrain = open_terrain(tiles)
    plain = see(two_towers, "tower-1", FIRE, up=15.0, terrain=terrain)
    assert plain.range_m is not None
    assert plain.range_m > 4000
    with two_towers.database.write() as session:
        session.get_one(Camera, "tower-1").altitude_m = 140.0
    two_towers.apply(plain.code, Event.MARK_FALSE, "county", reason="fog")
    two_towers.advance(minutes=60 * 24)
    assert gap(see(two_towers, "tower-1", FIRE, up=15.0, terrain=terrain)) < 100


def test_smoke_above_the_horizon_is_nobody_elses(two_towers: World) -> None:
    """A bearing alone opens an incident without a place and says nothing to another tower."""
    looks = replace(view(), tilt=3.0)
    report = sightings.Report(
        id=str(uuid.uuid4()),
        edge="edge-1",
        camera="tower-1",
        t0_earliest=None,
        t0_latest=two_towers.now,
        t1=two_towers.now,
        clock_offset_ms=0.0,
        clock_error_ms=50.0,
        confidence=0.7,
        box=(0.49, 0.4, 0.51, 0.5),
        aspect=ASPECT,
        view=(looks.pan, looks.tilt, looks.hfov),
        picture_sha256=None,
        message={},
    )
    with two_towers.database.write() as session:
        incident = sightings.record(session, report, two_towers.now).incident
        assert (incident.lat, incident.range_m, incident.grid_code) == (None, None, None)
        assert incident.bearing is not None
        assert math.isclose(incident.bearing, 90)
        code = incident.code
    assert see(two_towers, "tower-2", FIRE).code != code


def test_grids_are_ranked_by_the_cloud(two_towers: World) -> None:
    """The dispatcher journals the shares of the places that the sight leaves possible, longer behind than before."""
    code = see(two_towers, "tower-1", FIRE).code
    with two_towers.database.write() as session:
        Expander(["mqtt"], ZoneInfo("Asia/Shanghai")).step(session, two_towers.now)
        incident = session.scalars(select(Incident).where(Incident.code == code)).one()
        points = places.points(incident)
        assert points is not None
        expected = dispatch_region.load(session).index.rank_points(points)
    ranges = np.array([to_bearing_range(*MAST, lat, lon)[1] for lon, lat in points])
    assert np.quantile(ranges, 0.9) - 2800 > 2800 - np.quantile(ranges, 0.1)
    dispatched = [entry for entry in two_towers.journal(code) if entry.event is Event.DISPATCH]
    shares = {one["grid"]: one["probability"] for one in dispatched[0].data["candidates"]}
    assert shares == {one.code: pytest.approx(one.probability, abs=0.001) for one in expected}


def test_a_fire_opened_again_keeps_its_cloud(two_towers: World) -> None:
    """It burns where it burned."""
    first = see(two_towers, "tower-1", FIRE)
    with two_towers.database.write() as session:
        earlier = session.get_one(Incident, first.id)
        again = opening.open_again(session, earlier, "system:test", two_towers.now)
        assert again.cloud == earlier.cloud
        assert again.cloud is not None
