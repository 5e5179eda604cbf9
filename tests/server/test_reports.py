# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hotline, satellite, patrol and camera: one fire is one incident, whoever reports it, and two fires are two."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from server.domain.errors import Invalid, NotConcerned, NotPermitted
from server.domain.lifecycle import Event, State
from server.domain.place import move
from server.models import Person
from server.services import reports
from server.services.reports import Tip
from server.services.sightings import Recorded
from tests.dispatch.helpers import expand, logins
from tests.support.world import FIELD, OTHER_FIELD, World


def tip(world: World, number: int = 1, **how: object) -> Tip:
    """A report of the field in the village, a minute after it was seen there."""
    told = Tip(f"report-{number:04}", "hotline", *FIELD, 150.0, world.now - timedelta(minutes=1))
    return replace(told, **how)  # type: ignore[arg-type]


def report(world: World, told: Tip, by: str = "county") -> Recorded:
    """Somebody reports it."""
    with world.database.write() as session:
        return reports.record(session, told, session.get_one(Person, world.people[by]), world.now)


def test_a_reported_fire_is_dispatched_and_timed_as_any_other(world: World) -> None:
    """The village's owner is called; discovery does not apply, the other two clocks run."""
    found = report(world, tip(world, note="烧秸秆，烟很大"))
    assert (found.opened, found.duplicate) == (True, False)
    fire = found.incident.code
    expand(world)
    assert logins(world, fire) == ["worker-1"]
    assert world.state(fire) is State.DISPATCHED
    assert [clock.verdict.value for clock in world.clocks(fire)] == ["none", "running", "running"]
    opening = world.journal(fire)[0].data
    assert (opening["source"], opening["note"]) == ("hotline", "烧秸秆，烟很大")


def test_every_source_joins_the_fire_that_is_there(world: World) -> None:
    """A camera saw it first; the satellite's pixel, the hotline and a patrol mean the same one."""
    fire = world.dispatched()
    for number, (source, error_m, aside) in enumerate(
        [("satellite", 375.0, 700.0), ("hotline", 200.0, 300.0), ("patrol", 20.0, 60.0)]
    ):
        lat, lon = move(*FIELD, 45.0, aside)
        found = report(world, tip(world, number, source=source, error_m=error_m, lat=lat, lon=lon))
        assert (found.incident.code, found.opened) == (fire, False)
    assert world.events(fire).count("sighting") == 3


def test_a_camera_joins_what_the_hotline_opened(world: World) -> None:
    """The other way round."""
    fire = report(world, tip(world)).incident.code
    world.advance(seconds=40)
    assert world.sighting() == fire


def test_another_field_and_another_day_are_another_fire(world: World) -> None:
    """Two kilometres away; and the same place after the first was over."""
    fire = world.dispatched()
    other = report(world, tip(world, 1, lat=OTHER_FIELD[0], lon=OTHER_FIELD[1]))
    assert other.opened
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    world.advance(minutes=30)
    later = report(world, tip(world, 2))
    assert later.opened
    assert later.incident.code not in (fire, other.incident.code)


def test_a_report_that_was_late_belongs_to_the_fire_that_burned_then(world: World) -> None:
    """Seen while the incident was open, reported after it was over: it opens nothing."""
    fire = world.dispatched()
    seen = world.now + timedelta(minutes=5)
    world.advance(minutes=20)
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    world.advance(minutes=10)
    assert report(world, tip(world, seen_at=seen)).incident.code == fire
    assert world.state(fire) is State.FALSE_ALARM


def test_the_same_report_twice_changes_nothing(world: World) -> None:
    """The program repeats it until it is confirmed; the same id for something else is refused."""
    first = report(world, tip(world))
    again = report(world, tip(world))
    assert (again.duplicate, again.incident.code) == (True, first.incident.code)
    assert world.events(first.incident.code) == ["open"]
    with pytest.raises(Invalid, match="used for something else"):
        report(world, tip(world, source="patrol"))


def test_reports_that_make_no_sense_are_refused(world: World) -> None:
    """From the future, outside the region, outside one's area, from who only looks on."""
    for told, sentence in (
        (tip(world, seen_at=world.now + timedelta(seconds=1)), "future"),
        (tip(world, lat=10.0), "no county"),
    ):
        with pytest.raises(Invalid, match=sentence):
            report(world, told)
    with pytest.raises(NotConcerned):
        report(world, tip(world), by="other-county")
    with world.database.write() as session:
        session.get_one(Person, world.people["county"]).role = "department"
    with pytest.raises(NotPermitted):
        report(world, tip(world))
