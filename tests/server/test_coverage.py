# SPDX-License-Identifier: AGPL-3.0-or-later
"""When the cameras were looked at, as the server keeps and sums it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from server.queries.coverage import coverage
from tests.server.test_intake import Desk
from tests.support.world import World


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def report(start: datetime, *runs: tuple[str, float, float, int], **more: Any) -> dict[str, Any]:
    """Runs as (state, from, to, looks), seconds after `start`."""
    return {
        "v": 1,
        "id": str(uuid.uuid4()),
        "camera": "tower-1",
        "preset": None,
        "clock": {"offset_ms": None, "error_ms": None},
        "runs": [
            {
                "state": state,
                "from": (start + timedelta(seconds=begin)).isoformat(),
                "to": (start + timedelta(seconds=end)).isoformat(),
                "looks": looks,
            }
            for state, begin, end, looks in runs
        ],
    } | more


def test_an_hour_is_summed_by_cause(desk: Desk) -> None:
    """What was looked at, what was blind and why, and what nobody told; the same report twice counts once."""
    start = desk.world.now - timedelta(hours=1)
    first = report(start, ("ok", -600, 1800, 240), ("stream_down", 1800, 2100, 0), ("ok", 2100, 2400, 30))
    for result in ("stored", "duplicate"):
        ack = desk.receive("edge/edge-1/coverage", first)
        assert ack is not None
        assert (ack["id"], ack["part"], ack["result"]) == (first["id"], "coverage", result)
    desk.receive("edge/edge-1/coverage", report(start, ("dark", 2300, 2700, 0)))
    with desk.world.database.read() as session:
        found = {each.camera: each for each in coverage(session, start, start + timedelta(hours=1))}
    one = found["tower-1"]
    assert (one.looked_s, one.looks) == (2100, 210)
    assert one.blind_s == {"dark": 300, "stream_down": 300}
    assert one.unreported_s == 900
    assert one.share == pytest.approx(2100 / 3600)


def test_times_are_moved_to_the_servers_scale(desk: Desk) -> None:
    """A box whose clock is an hour behind says so, and is believed."""
    start = desk.world.now - timedelta(hours=1)
    told = report(start - timedelta(hours=1), ("ok", 0, 60, 6), clock={"offset_ms": 3_600_000, "error_ms": 4})
    desk.receive("edge/edge-1/coverage", told)
    with desk.world.database.read() as session:
        found = {each.camera: each for each in coverage(session, start, start + timedelta(seconds=60))}
    assert found["tower-1"].share == 1


@pytest.mark.parametrize(
    "change",
    [
        {"camera": "nowhere"},
        {"runs": []},
        {"runs": [{"state": "OK!", "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "looks": 1}]},
        {"runs": [{"state": "ok", "from": "2026-01-01T00:01:00Z", "to": "2026-01-01T00:00:00Z", "looks": 1}]},
        {"runs": [{"state": "ok", "from": "2026-01-01T00:00:00", "to": "2026-01-01T00:01:00", "looks": 1}]},
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(desk: Desk, change: dict[str, Any]) -> None:
    """And leaves nothing behind."""
    whole = report(desk.world.now - timedelta(hours=1), ("ok", 0, 60, 6)) | change
    ack = desk.receive("edge/edge-1/coverage", whole)
    assert ack is not None
    assert ack["result"] == "refused"
    assert ack["reason"]
    with desk.world.database.read() as session:
        now = desk.world.now
        assert all(each.looked_s == 0 for each in coverage(session, now - timedelta(days=999), now))


def test_a_box_speaks_for_its_own_cameras_only(desk: Desk) -> None:
    """Another box's report of the same camera is refused."""
    ack = desk.receive("edge/edge-2/coverage", report(desk.world.now, ("ok", -60, 0, 6)))
    assert ack is not None
    assert ack["result"] == "refused"


def test_each_preset_is_a_line_of_its_own(desk: Desk) -> None:
    """Two presets of one camera are looked at in the same hour, and neither hides the other."""
    start = desk.world.now - timedelta(hours=1)
    desk.receive("edge/edge-1/coverage", report(start, ("ok", 0, 3600, 60), preset="p1"))
    desk.receive("edge/edge-1/coverage", report(start, ("ok", 0, 1800, 30), ("manual", 1800, 3600, 0), preset="p2"))
    with desk.world.database.read() as session:
        found = coverage(session, start, start + timedelta(hours=1))
    assert [(each.preset, each.share) for each in found] == [("p1", 1.0), ("p2", 0.5)]
    assert found[1].blind_s == {"manual": 1800}


def test_a_minute_is_possible_where_the_next_one_is_looked_at_too(desk: Desk) -> None:
    """Smoke of the last minute before a blindness, and where the plan is too slow, may be found too late."""
    start = desk.world.now - timedelta(hours=1)
    first = report(start, ("ok", 0, 600, 60), ("frozen", 600, 700, 0), ("ok", 700, 1200, 50))
    again = report(start, ("ok", 1200, 1800, 60), ("slow", 1800, 2400, 60), ("ok", 2400, 3600, 120))
    for each in (first, again):
        desk.receive("edge/edge-1/coverage", each)
    with desk.world.database.read() as session:
        [found] = coverage(session, start, start + timedelta(hours=1))
    assert found.looked_s == 3500
    assert found.minute_s == 540 + 1040 + 1200
    assert [each.state for each in found.stretches] == ["ok", "frozen", "ok", "slow", "ok"]


def test_a_county_sees_its_own_cameras(desk: Desk) -> None:
    """The area's beginning of the code bounds the lines."""
    now = desk.world.now
    with desk.world.database.read() as session:
        assert [each.camera for each in coverage(session, now - timedelta(hours=1), now, "330802")] == ["tower-1"]
        assert coverage(session, now - timedelta(hours=1), now, "330803") == []
