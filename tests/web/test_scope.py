# SPDX-License-Identifier: AGPL-3.0-or-later
"""What lies outside a person's area does not exist for them."""

from __future__ import annotations

import uuid

import pytest

from server.domain.lifecycle import Event
from server.models import Callout, Incident, Notice
from server.services import incidents
from tests.support.world import VILLAGE
from tests.web.conftest import Site, Visitor
from tests.web.test_api import with_picture

pytestmark = pytest.mark.usefixtures("site")


def _dispatched(site: Site) -> tuple[str, str]:
    code, digest = with_picture(site.world)
    site.world.apply(code, Event.DISPATCH, by=None, grid=VILLAGE)
    with site.world.database.write() as session:
        incidents.lock(session, code).grid_code = VILLAGE
    return code, digest


def _call(site: Site, code: str, login: str) -> None:
    """Tell somebody of an incident, as the dispatcher does near a border."""
    with site.world.database.write() as session:
        incident: Incident = incidents.lock(session, code)
        callout = Callout(
            incident_id=incident.id, rung="deputy", cause="test", kind="remind", created_at=site.world.now
        )
        session.add(callout)
        session.flush()
        session.add(
            Notice(
                id=str(uuid.uuid4()),
                callout_id=callout.id,
                incident_id=incident.id,
                person_id=site.world.people[login],
                channel="mqtt",
                payload={},
                next_at=site.world.now,
                created_at=site.world.now,
            )
        )


def _sees_nothing(who: Visitor, code: str, digest: str) -> None:
    assert [one["code"] for one in who.json("/api/v1/incidents")["incidents"]] == []
    assert who.json("/api/v1/state")["incidents"] == []
    for path in (f"/api/v1/incidents/{code}", f"/media/{digest}.jpg"):
        assert who.client.get(path).status_code == 404, path
    for step in ("accept", "verify", "undo", "report_false", "mark_false"):
        reply = who.answer(code, step, reason="fog")
        assert (reply.status_code, reply.get_json()["code"]) == (404, "missing"), step


@pytest.mark.parametrize("login", ["stranger", "neighbour"])
def test_a_worker_of_another_grid_sees_and_answers_nothing(site: Site, login: str) -> None:
    """Page, picture, list and answers all read as if there were no such incident."""
    code, digest = _dispatched(site)
    before = site.world.events(code)
    stranger = site.login(login)
    _sees_nothing(stranger, code, digest)
    assert stranger.get(f"/w/{code}").status_code == 404
    assert code not in stranger.get("/w").text
    assert stranger.submit(f"/w/{code}/answer", event="accept").status_code == 404
    assert site.world.events(code) == before


def test_a_supervisor_of_another_county_sees_and_answers_nothing(site: Site) -> None:
    """The console of the next county knows nothing of it either."""
    code, digest = _dispatched(site)
    before = site.world.events(code)
    other = site.login("other-county")
    _sees_nothing(other, code, digest)
    for path in (f"/console/{code}", f"/console/part/incident/{code}"):
        assert other.get(path).status_code == 404
    assert code not in other.get("/console").text
    assert other.submit(f"/console/{code}/answer", event="mark_false", reason="fog").status_code == 404
    assert site.world.events(code) == before


@pytest.mark.parametrize("login", ["worker-1", "worker-2", "leader"])
def test_the_grids_own_people_see_it(site: Site, login: str) -> None:
    """Owner, deputy and the township's leader have it on their page, with its picture."""
    code, digest = _dispatched(site)
    person = site.login(login)
    assert person.get(f"/w/{code}").status_code == 200
    assert person.client.get(f"/media/{digest}.jpg", buffered=True).status_code == 200


@pytest.mark.parametrize("login", ["county", "city", "admin"])
def test_those_who_oversee_the_place_see_it(site: Site, login: str) -> None:
    """County, city and administrator see it on the console."""
    code, digest = _dispatched(site)
    person = site.login(login)
    assert person.get(f"/console/{code}").status_code == 200
    assert person.client.get(f"/media/{digest}.jpg", buffered=True).status_code == 200


def test_a_neighbour_who_was_called_sees_and_answers(site: Site) -> None:
    """A notice opens the incident to the person it was written for."""
    code, digest = _dispatched(site)
    _call(site, code, "neighbour")
    neighbour = site.login("neighbour")
    assert neighbour.get(f"/w/{code}").status_code == 200
    assert neighbour.client.get(f"/media/{digest}.jpg", buffered=True).status_code == 200
    assert neighbour.answer(code, "accept").status_code == 200


def test_an_incident_not_yet_placed_is_the_countys_alone(site: Site) -> None:
    """Before the grid is known no worker sees it, and the county does."""
    code = site.world.sighting()
    assert site.login("worker-1").get(f"/w/{code}").status_code == 404
    assert site.login("county").get(f"/console/{code}").status_code == 200


def test_workers_do_not_see_who_else_was_told_nor_the_console(site: Site) -> None:
    """Names and numbers of the notices are the overseers' business; numbers are masked even there."""
    code, _ = _dispatched(site)
    _call(site, code, "neighbour")
    worker, county = site.login("worker-1"), site.login("county")
    assert worker.json(f"/api/v1/incidents/{code}")["incident"]["notices"] == []
    assert worker.get("/console").location == "/w"
    told = county.json(f"/api/v1/incidents/{code}")["incident"]["notices"]
    assert [one["phone"] for one in told] == ["+86120****0003"]
    assert "+8612000000003" not in county.get(f"/console/{code}").text


def test_a_supervisor_who_follows_a_workers_link_comes_to_the_console(site: Site) -> None:
    """The same address in a notice serves both."""
    code, _ = _dispatched(site)
    assert site.login("county").get(f"/w/{code}").location == f"/console/{code}"
