# SPDX-License-Identifier: AGPL-3.0-or-later
"""A second camera puts the fire into another grid: its owner is told, and everybody who leads."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from server.domain.lifecycle import Event, State
from server.models import Callout, Incident
from tests.dispatch.helpers import expand, told
from tests.locate.make import away
from tests.locate.test_incidents import see, two_towers
from tests.support.world import COUNTY, NEIGHBOUR, VILLAGE, World

__all__ = ["two_towers"]
# 55 m south of the border between the villages (28.955 N). The first tower sees its foot too low: nearer, north of it.
FIRE = away(114, 1500)
LOW = -7.0


@pytest.fixture
def fire(two_towers: World) -> tuple[World, str]:
    """One tower's fire, dispatched to the wrong village."""
    code = see(two_towers, "tower-1", FIRE, up=LOW).code
    expand(two_towers)
    assert grid(two_towers, code) == VILLAGE
    return two_towers, code


def grid(world: World, code: str) -> str | None:
    """Whose fire it is."""
    with world.database.read() as session:
        return session.scalars(select(Incident.grid_code).where(Incident.code == code)).one()


def news(world: World, code: str, before: int) -> list[tuple[str, str]]:
    """Who was told by text since, and what: "lead", or whose lead."""
    return [
        (notice.login, "lead" if "签收" in notice.text else notice.text.partition("由")[2].partition("牵头")[0])
        for notice in told(world, code, "sms")[before:]
    ]


def test_the_owner_of_the_right_grid_takes_over_before_anybody_accepted(fire: tuple[World, str]) -> None:
    """The journal has a second dispatch; the new owner leads, the first one is told who does."""
    world, code = fire
    before = len(told(world, code, "sms"))
    see(world, "tower-2", FIRE)
    expand(world)
    assert grid(world, code) == NEIGHBOUR
    assert news(world, code, before) == [("worker-1", "南村"), ("neighbour", "lead")]
    lines = [entry.data for entry in world.journal(code) if entry.event is Event.DISPATCH]
    assert [line["grid"] for line in lines] == [VILLAGE, NEIGHBOUR]
    assert lines[1]["cause"].startswith("refined:")
    assert expand(world) == 0


def test_who_has_accepted_goes_on_leading(fire: tuple[World, str]) -> None:
    """The other grid's owner is told to help, the incident stays with who is on the way."""
    world, code = fire
    world.apply(code, Event.ACCEPT, "worker-1")
    expand(world)
    before = len(told(world, code, "sms"))
    see(world, "tower-2", FIRE)
    expand(world)
    assert (grid(world, code), world.state(code)) == (VILLAGE, State.ACCEPTED)
    assert news(world, code, before) == [("neighbour", "东村")]


def test_a_hand_over_is_not_second_guessed(fire: tuple[World, str]) -> None:
    """Somebody decided whose it is: a better place changes nothing and tells nobody."""
    world, code = fire
    world.apply(code, Event.TRANSFER, "worker-1", to=VILLAGE)
    expand(world)
    before = len(told(world, code))
    see(world, "tower-2", FIRE)
    assert expand(world) == 1
    assert (grid(world, code), len(told(world, code))) == (VILLAGE, before)


def test_the_same_grid_again_tells_nobody(two_towers: World) -> None:
    """Better known and still theirs: no second message, and no line that nobody was reached."""
    world = two_towers
    inside = away(95, 1500)
    code = see(world, "tower-1", inside).code
    expand(world)
    before = len(told(world, code))
    see(world, "tower-2", inside)
    expand(world)
    assert len(told(world, code)) == before
    assert world.events(code).count("dispatch") == 1
    assert "unreached" not in world.events(code)


def test_a_bearing_alone_that_gets_its_place_goes_to_its_grid(two_towers: World) -> None:
    """Smoke above the horizon is the county's; once a camera sees its foot the owner is told."""
    world = two_towers
    with world.database.write() as session:
        incident = session.get(Incident, _unplaced(world))
        assert incident is not None
        code = incident.code
        assert session.scalars(select(Callout.cause).where(Callout.incident_id == incident.id)).all() == ["dispatch"]
    expand(world)
    assert {(notice.login) for notice in told(world, code)} == {"county"}
    assert see(world, "tower-1", away(95, 1500)).code == code
    expand(world)
    assert grid(world, code) == VILLAGE
    assert {(notice.login) for notice in told(world, code)} == {"county", "worker-1"}


def _unplaced(world: World) -> int:
    """A fire that the tower saw while it turned past 95 degrees."""
    from server.domain.place import Place
    from server.services import opening

    with world.database.write() as session:
        opened = opening.open_incident(
            session,
            county_code=COUNTY,
            place=Place(95.0),
            actor="system:engine",
            data={},
            now=world.now,
            camera_id="tower-1",
        )
        return opened.id
