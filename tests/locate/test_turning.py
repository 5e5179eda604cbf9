# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that turn: what they see without a direction is never placed, and their zoom is not linear."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from server.admin.cameras import import_cameras
from server.admin.tables import Refused
from server.domain.place import distance_m
from server.engine.wire import SightingMessage, parse, to_report
from server.models import Camera, Incident
from server.services import sightings
from tests.dispatch.helpers import expand, logins, told
from tests.locate.make import ASPECT, MAST, away, foot, towards
from tests.support.world import COUNTY, World

FIRE = away(90, 2000)
# One 37× camera, as measured: far from linear.
ZOOMS = [[0.0, 58.0], [0.25, 7.2], [1.0, 2.8]]


def camera(world: World, **values: Any) -> None:
    """Change the tower's camera."""
    with world.database.write() as session:
        session.execute(update(Camera).values(**values))


def see(world: World, *, moving: bool = False, view: Any = "hfov", zoom: float | None = None) -> Incident:
    """The tower reports the fire. ``view``: "hfov" (what it truly is), "zoom" (that instead) or None."""
    hfov = 7.2 if zoom == 0.25 else 32.0
    looks = towards(MAST, *FIRE, hfov=hfov)
    x, y = foot(looks, *FIRE)
    world.now += timedelta(seconds=10)
    stated = {"hfov": (looks.pan, looks.tilt, hfov), "zoom": (looks.pan, looks.tilt, None), None: None}[view]
    report = sightings.Report(
        id=str(uuid.uuid4()),
        edge="edge-1",
        camera="tower-1",
        t0_earliest=None,
        t0_latest=world.now - timedelta(seconds=5),
        t1=world.now - timedelta(seconds=1),
        clock_offset_ms=0.0,
        clock_error_ms=50.0,
        confidence=0.7,
        box=(x - 0.01, y - 0.05, x + 0.01, y),
        aspect=ASPECT,
        view=stated,
        picture_sha256=None,
        message={},
        zoom=zoom,
        moving=moving,
    )
    with world.database.write() as session:
        code = sightings.record(session, report, world.now).incident.code
    with world.database.read() as session:
        return session.scalars(select(Incident).where(Incident.code == code)).one()


def test_a_turning_camera_tells_the_county_and_places_nothing(world: World) -> None:
    """With the direction it passed through as a bearing, without one in words that say so."""
    passing = see(world, moving=True)
    assert (passing.lat, passing.grid_code) == (None, None)
    assert passing.bearing == pytest.approx(91.0, abs=0.1)
    expand(world)
    assert logins(world, passing.code) == ["county"]
    assert "方位91°" in told(world, passing.code, "sms")[0].text
    lost = see(world, moving=True, view=None)
    assert lost.code != passing.code
    assert (lost.bearing, lost.lat) == (None, None)
    expand(world)
    assert logins(world, lost.code) == ["county"]
    assert "方位未定，请看图" in told(world, lost.code, "sms")[0].text


def test_what_a_turning_camera_sees_again_is_one_fire_and_moves_none(world: World) -> None:
    """Without a direction its sightings join one another, and never a fire that is placed."""
    lost = see(world, moving=True, view=None)
    placed = see(world)
    assert placed.code != lost.code
    assert placed.lat is not None
    assert see(world, moving=True, view=None).code == lost.code
    again = see(world)
    assert again.code == placed.code
    assert (again.lat, again.lon) == (placed.lat, placed.lon)


def test_a_camera_that_turns_has_no_direction_but_the_one_it_states(world: World) -> None:
    """A fixed one that says nothing looks as registered; one registered as turning looks nowhere known."""
    assert see(world, view=None).bearing is not None
    camera(world, ptz=True)
    assert see(world, view=None).bearing is None
    assert see(world).lat is not None


def test_a_stated_zoom_is_read_by_the_models_table(world: World) -> None:
    """At zoom 0.25 the field is 7.2°, not a quarter of the way: the place is right; outside the table nothing is."""
    unknown = see(world, view="zoom", zoom=0.25)
    assert (unknown.lat, unknown.bearing is None) == (None, False)
    camera(world, zoom_table=ZOOMS)
    found = see(world, view="zoom", zoom=0.25)
    assert found.code == unknown.code  # which thereby has its place
    assert found.lat is not None
    assert found.lon is not None
    assert distance_m(*FIRE, found.lat, found.lon) < 20


def test_a_zoom_beyond_the_table_places_nothing(world: World) -> None:
    """What was not measured is not known."""
    camera(world, zoom_table=ZOOMS)
    assert see(world, view="zoom", zoom=1.5).lat is None


def test_the_message_says_so(world: World) -> None:
    """``moving`` and a view with zoom come in by the wire."""
    message = {
        **{"v": 1, "id": str(uuid.uuid4()), "edge": "edge-1", "camera": "tower-1", "confidence": 0.5},
        **{"t0": {"earliest": None, "latest": "2026-10-08T09:00:00Z"}, "t1": "2026-10-08T09:00:05Z"},
        **{"sent_at": "2026-10-08T09:00:06Z", "box": [0.4, 0.5, 0.5, 0.6], "frame": {"width": 16, "height": 9}},
        **{"view": {"pan": 10, "tilt": -2, "zoom": 0.25}, "moving": True},
    }
    report = to_report(parse(SightingMessage, json.dumps(message).encode()), world.now)
    assert (report.view, report.zoom, report.moving) == ((10.0, -2.0, None), 0.25, True)


def test_cameras_take_their_models_table_from_the_file(world: World, tmp_path: Path) -> None:
    """Once for each model; an unknown model and a field that grows with the zoom are refused."""

    def file(model: str, rows: str) -> Path:
        path = tmp_path / "cameras.yaml"
        path.write_text(
            f"models: {{IPC-37: {rows}}}\ncameras:\n  - {{id: tower-9, edge: edge-1, county: '{COUNTY}', name: 某塔,"
            f" lat: 28.9, lon: 118.8, height_m: 40, pan: 0, tilt: -1, hfov: 58, ptz: true, model: {model}}}\n"
        )
        return path

    with world.database.write() as session:
        assert import_cameras(session, file("IPC-37", str(ZOOMS))) == (1, 0)
        found = session.get_one(Camera, "tower-9")
        assert (found.ptz, [list(row) for row in found.zoom_table or []]) == (True, ZOOMS)
    for model, rows, sentence in (
        ("IPC-40", str(ZOOMS), "model 'IPC-40' is not among the file's models"),
        ("IPC-37", "[[0, 5], [1, 50]]", "the field of view falls"),
        ("IPC-37", "[wide, narrow]", "write rows of zoom and field of view"),
    ):
        path = file(model, rows)
        with pytest.raises(Refused, match=sentence), world.database.write() as session:
            import_cameras(session, path)
