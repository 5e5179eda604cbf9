# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever is sent, the answer is a sentence and never a fault of ours."""

from __future__ import annotations

import io

import pytest

from tests.support.world import jpeg
from tests.web.conftest import Site, Visitor
from tests.web.test_scope import _dispatched

pytestmark = pytest.mark.usefixtures("site")
_BODIES = ["[1]", '"x"', "null", "5", "{", "[" * 100_000, r'{"note": "\ud800"}', r'{"id": "a\u0000b"}']


@pytest.mark.parametrize("body", _BODIES, ids=lambda body: body[:12])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/session"),
        ("POST", "/api/v1/answers"),
        ("POST", "/api/v1/reports"),
        ("DELETE", "/api/v1/push"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(site: Site, method: str, path: str, body: str) -> None:
    """Other JSON than an object, broken, nested too deep, or with what no database keeps: a refusal in words."""
    worker = site.login("worker-1")
    headers = {"X-CSRFToken": worker.token}
    reply = worker.client.open(path, method=method, data=body, content_type="application/json", headers=headers)
    assert 400 <= reply.status_code < 500, reply.text
    assert reply.get_json()["message"]


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "tomorrow", "2026-13-01"])
def test_a_day_outside_the_record_is_refused(site: Site, day: str) -> None:
    """No day before there was a record, and none to come."""
    county: Visitor = site.login("county")
    assert county.client.get(f"/api/v1/coverage?day={day}").status_code == 422


def test_nul_in_an_address_is_refused(site: Site) -> None:
    """It never reaches the database, which takes none."""
    county = site.login("county")
    assert county.client.get("/console/%00").status_code == 404
    assert county.client.get("/api/v1/incidents?area=%00").status_code == 400


def test_photographs_are_few(site: Site) -> None:
    """Each is decoded while the record waits: a heap of them is refused before the first."""
    code, _ = _dispatched(site)
    worker = site.login("worker-1")
    form = {"id": "many-photographs", "incident": code, "event": "report_done"}
    photos = [(jpeg(100 + number, 64, 48), f"{number}.jpg") for number in range(5)]
    files = {"photo": [(io.BytesIO(data), name) for data, name in photos]}
    reply = worker.client.post("/api/v1/answers", data={**form, **files}, headers={"X-CSRFToken": worker.token})
    assert (reply.status_code, reply.get_json()["code"]) == (422, "invalid")
    assert "photographs" in reply.get_json()["message"]


def test_a_photograph_out_of_turn_leaves_no_file(site: Site) -> None:
    """Refused for the state the incident is in, it fills no disk."""
    code, _ = _dispatched(site)
    before = sorted(site.world.evidence.rglob("*"))
    reply = site.login("worker-1").answer(code, "report_done", photo=jpeg(140, 64, 48))
    assert (reply.status_code, reply.get_json()["code"]) == (409, "not_allowed_now")
    assert sorted(site.world.evidence.rglob("*")) == before


def test_one_person_cannot_drown_the_others(site: Site) -> None:
    """Reports call people out: beyond 120 a minute one person's are refused, another's are taken."""
    county, worker = site.login("county"), site.login("worker-1")

    def report(by: Visitor) -> int:
        return by.client.post("/api/v1/reports", json={}, headers={"X-CSRFToken": by.token}).status_code

    assert {report(worker) for _ in range(120)} == {422}
    assert report(worker) == 429
    assert report(county) == 422
