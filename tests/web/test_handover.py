# SPDX-License-Identifier: AGPL-3.0-or-later
"""Near a border the fire goes to the neighbours with one tap."""

from __future__ import annotations

import re

import pytest
from werkzeug.test import TestResponse

from server.domain.errors import Invalid
from server.domain.lifecycle import Event, State
from tests.dispatch.helpers import expand
from tests.dispatch.test_expand import BORDER
from tests.support.world import CITY, COUNTY, FAR_VILLAGE, FIELD, NEIGHBOUR, TOWNSHIP, VILLAGE, World
from tests.web.conftest import Site, Visitor


def test_near_a_border_one_tap_hands_over(site: Site) -> None:
    """The page has a button with the neighbour's name; its form alone is the hand-over, and they are called."""
    world = site.world
    code = world.sighting(at=BORDER)
    expand(world)
    leads = world.journal(code)[-1].data["grid"]
    first, other = ("worker-1", NEIGHBOUR) if leads == VILLAGE else ("neighbour", VILLAGE)
    name = {NEIGHBOUR: "南村", VILLAGE: "东村"}[other]
    owner = site.login(first)
    page = owner.get(f"/w/{code}").text
    assert f"在{name}，转给他们" in page
    assert re.search(rf'name="to" value="{other}"', page) is not None
    owner.submit(f"/w/{code}/answer", event="transfer", to=other)
    expand(world)
    assert world.state(code) is State.DISPATCHED
    assert world.journal(code)[-1].data["grid"] == other


def test_far_from_any_border_there_is_no_such_button(site: Site) -> None:
    """Nobody hands a fire over by mistake."""
    code = site.world.sighting(at=FIELD)
    expand(site.world)
    assert "转给他们" not in site.login("worker-1").get(f"/w/{code}").text


def test_who_handed_it_over_has_no_say_in_it_any_more(site: Site) -> None:
    """They may repeat that answer until it is confirmed; the fire is not theirs to accept until it comes back."""
    world = site.world
    code = world.sighting(at=FIELD)
    expand(world)
    first, second = site.login("worker-1"), site.login("neighbour")
    for result in ("done", "duplicate"):
        reply = _answer(first, code, "transfer", "handed-over", to=NEIGHBOUR)
        assert reply.get_json()["result"] == result
    expand(world)
    before = world.events(code)
    for event in ("accept", "undo"):
        assert _answer(first, code, event, f"late-{event}").status_code == 404
    assert first.get(f"/api/v1/incidents/{code}").status_code == 404
    assert world.events(code) == before
    # Told that the neighbour accepted, they are not called.
    assert _answer(second, code, "accept", "theirs").status_code == 200
    expand(world)
    assert first.get(f"/api/v1/incidents/{code}").status_code == 404
    _answer(second, code, "transfer", "back", to=VILLAGE)
    expand(world)
    assert _answer(first, code, "accept", "again").status_code == 200


def _answer(visitor: Visitor, code: str, event: str, number: str, **more: str) -> TestResponse:
    given = {"id": number, "incident": code, "event": event, **more}
    return visitor.client.post("/api/v1/answers", json=given, headers={"X-CSRFToken": visitor.token})


def test_a_hand_over_goes_to_who_answers_for_a_place(world: World) -> None:
    """To a village; a worker's no farther than the county, a supervisor's anywhere."""
    fire = world.dispatched()
    for by, to in ("worker-1", CITY), ("county", COUNTY), ("county", TOWNSHIP), ("county", "999"):
        with pytest.raises(Invalid, match="village or grid"):
            world.apply(fire, Event.TRANSFER, by, to=to)
    with pytest.raises(Invalid, match="another county"):
        world.apply(fire, Event.TRANSFER, "worker-1", to=FAR_VILLAGE)
    assert world.apply(fire, Event.TRANSFER, "county", to=FAR_VILLAGE) is State.DISPATCHED
