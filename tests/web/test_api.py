# SPDX-License-Identifier: AGPL-3.0-or-later
"""The API: answers, lists, pictures, health."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import event

from server.domain.lifecycle import Event, State
from server.services import pictures, sightings
from tests.support.world import FIELD, NEIGHBOUR, World, jpeg, report
from tests.web.conftest import Site


def with_picture(world: World, shade: int = 99) -> tuple[str, str]:
    """A dispatched incident whose camera picture has arrived: its code and the picture's digest."""
    picture = jpeg(shade)
    sent = report(world.now, picture=picture)
    with world.database.write() as session:
        code = sightings.record(session, sent, world.now).incident.code
    with world.database.write() as session:
        pictures.add_edge_picture(session, sent.id, "edge-1", picture, folder=world.evidence, now=world.now)
    return code, hashlib.sha256(picture).hexdigest()


def test_a_program_learns_who_it_is_and_gets_a_token(site: Site) -> None:
    """/me works before the login too: that is where the token for the login comes from."""
    me = site.app.test_client().get("/api/v1/me").get_json()
    assert me["person"] is None
    assert me["csrf_token"]
    person = site.login("worker-2").json("/api/v1/me")["person"]
    assert (person["login"], person["role"], person["area"]["name"], person["language"]) == (
        "worker-2",
        "worker",
        "东村",
        "en",
    )


def test_a_wrong_login_of_a_program_is_a_401_in_words(site: Site) -> None:
    """The code is for the program, the sentence for its user."""
    client = site.app.test_client()
    token = client.get("/api/v1/me").get_json()["csrf_token"]
    reply = client.post("/api/v1/session", json={"login": "worker-1", "password": "no"}, headers={"X-CSRFToken": token})
    assert (reply.status_code, reply.get_json()["code"]) == (401, "wrong_password")


def test_the_whole_way_through_the_api(site: Site) -> None:
    """Accepted, on site, photographed and done, verified, closed: each answer moves the incident and is stamped."""
    world = site.world
    code = world.dispatched()
    worker, county = site.login("worker-1"), site.login("county")
    world.advance(minutes=1)
    assert worker.answer(code, "accept").get_json()["state"] == "accepted"
    world.advance(minutes=5)
    assert worker.answer(code, "arrive", lat=28.96, lon=118.81).get_json()["state"] == "on_site"
    world.advance(minutes=5)
    assert worker.answer(code, "report_done", photo=jpeg()).get_json()["state"] == "reported"
    assert county.answer(code, "verify").get_json()["state"] == "verified"
    assert county.answer(code, "close").get_json()["state"] == "closed"
    found = county.json(f"/api/v1/incidents/{code}")["incident"]
    assert [(one["name"], one["verdict"]) for one in found["intervals"]] == [
        ("discover", "kept"),
        ("respond", "kept"),
        ("dispose", "kept"),
    ]
    assert all(found["stamps"][name] for name in ("t2", "t4", "t6", "t7", "t8"))
    assert len(found["photos"]) == 1


def test_the_same_answer_twice_changes_nothing(site: Site) -> None:
    """A repeated id gives the first result again, whatever came in between."""
    code = site.world.dispatched()
    worker = site.login("worker-1")
    first = worker.answer(code, "accept", id="answer-0001").get_json()
    worker.answer(code, "arrive")
    again = worker.answer(code, "accept", id="answer-0001").get_json()
    assert (first["result"], again["result"]) == ("done", "duplicate")
    assert (again["state"], again["seq"]) == ("accepted", first["seq"])
    assert site.world.events(code).count("accept") == 1


def test_the_same_photograph_sent_twice_is_one_report(site: Site) -> None:
    """A phone that never heard the confirmation sends again: one picture, one report."""
    code = site.world.dispatched()
    worker = site.login("worker-1")
    worker.answer(code, "accept")
    worker.answer(code, "arrive")
    for _ in range(2):
        assert worker.answer(code, "report_done", id="done-0001", photo=jpeg(50)).status_code == 200
    assert site.world.events(code).count("report_done") == 1
    assert site.world.events(code).count("picture") == 1


def test_the_first_answer_wins(site: Site) -> None:
    """The deputy who taps second is told in words, in their language."""
    code = site.world.dispatched()
    site.login("worker-1").answer(code, "accept")
    late = site.login("worker-2").answer(code, "accept")
    assert (late.status_code, late.get_json()) == (409, {"code": "already_answered", "message": "已由他人签收。"})
    english = site.login("worker-2", language="en").answer(code, "accept").get_json()["message"]
    assert english == "Somebody else has already accepted it."


def test_a_step_that_is_not_due_is_refused_in_words(site: Site) -> None:
    """The sentence names the state and the step in the project's words."""
    code = site.world.dispatched()
    reply = site.login("worker-1").answer(code, "arrive")
    assert reply.status_code == 409
    assert reply.get_json()["message"] == "现在是“已派单”，不能再“到场”。"


def test_a_worker_cannot_verify_and_a_supervisor_cannot_accept(site: Site) -> None:
    """Each role has its own steps."""
    code = site.world.dispatched()
    for who, step in (("worker-1", "mark_false"), ("county", "accept")):
        reply = site.login(who).answer(code, step, reason="fog")
        assert (reply.status_code, reply.get_json()["code"]) == (403, "not_permitted")


def test_a_mistaken_tap_is_taken_back_in_time_only(site: Site) -> None:
    """Undo works for sixty seconds and says when it is too late."""
    world = site.world
    code = world.dispatched()
    worker = site.login("worker-1")
    worker.answer(code, "accept")
    world.advance(seconds=30)
    assert worker.answer(code, "undo").get_json()["state"] == "dispatched"
    worker.answer(code, "accept")
    world.advance(seconds=61)
    assert worker.answer(code, "undo").get_json()["code"] == "too_late"
    assert world.state(code) is State.ACCEPTED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": "x" * 65},
        {"incident": ""},
        {"event": "explode"},
        {"event": "breach"},
        {"lat": 28.9},
        {"lat": "north", "lon": 1},
        {"lat": 91, "lon": 1},
        {"at": "yesterday"},
        {"at": "2026-10-08T09:00:00"},
        {"note": "x" * 501},
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_and_writes_nothing(site: Site, fields: dict[str, Any]) -> None:
    """One sentence, status 422, and the journal as it was."""
    code = site.world.dispatched()
    before = site.world.events(code)
    content = {"id": "answer-0001", "incident": code, "event": "accept", **fields}
    worker = site.login("worker-1")
    reply = worker.client.post("/api/v1/answers", json=content, headers={"X-CSRFToken": worker.token})
    assert (reply.status_code, reply.get_json()["code"]) == (422, "invalid")
    assert site.world.events(code) == before


def test_done_takes_a_photograph_that_is_one(site: Site) -> None:
    """No photograph, and a file that is none, are refused; the incident stays in hand."""
    world = site.world
    code = world.dispatched()
    worker = site.login("worker-1")
    worker.answer(code, "accept")
    worker.answer(code, "arrive")
    assert worker.answer(code, "report_done").get_json()["message"] == "内容有误：要有一张火已扑灭的照片。"
    torn = worker.answer(code, "report_done", photo=jpeg()[:400])
    assert torn.get_json()["message"] == "内容有误：照片读不出来，请重拍一张 JPEG 照片。"
    assert world.state(code) is State.ON_SITE


def test_the_journal_keeps_the_phones_time_and_place(site: Site) -> None:
    """The server's time decides; the phone's own is kept beside it."""
    code = site.world.dispatched()
    site.login("worker-1").answer(code, "accept", at="2026-10-08T16:59:58+08:00", lat=28.96, lon=118.81)
    entry = site.world.journal(code)[-1]
    assert entry.at == site.world.now
    assert entry.data["phone_at"] == "2026-10-08T16:59:58+08:00"
    assert (entry.data["lat"], entry.data["lon"]) == (28.96, 118.81)


def test_a_picture_is_served_whole_and_for_ever(site: Site) -> None:
    """The name is the digest, so a browser never asks twice."""
    code, digest = with_picture(site.world)
    worker = site.login("county")
    reply = worker.client.get(f"/media/{digest}.jpg", buffered=True)
    assert reply.status_code == 200
    assert hashlib.sha256(reply.data).hexdigest() == digest
    assert reply.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    found = worker.json(f"/api/v1/incidents/{code}")["incident"]["picture"]
    assert found["url"] == f"/media/{digest}.jpg"
    assert len(found["box"]) == 4
    assert worker.client.get(f"/media/{'0' * 64}.jpg").status_code == 404
    assert worker.client.get("/media/..%2Fsecret.jpg").status_code == 404


def test_lists_are_filtered(site: Site) -> None:
    """By open and ended, and by area."""
    world = site.world
    first = world.dispatched()
    second = world.sighting(at=(28.9465, 118.800))
    world.apply(second, Event.MARK_FALSE, "county", reason="fog")
    county = site.login("county")

    def codes(query: str) -> set[str]:
        return {one["code"] for one in county.json(f"/api/v1/incidents{query}")["incidents"]}

    assert codes("") == {first, second}
    assert codes("?show=open") == {first}
    assert codes("?show=ended") == {second}
    assert codes(f"?show=open&area={NEIGHBOUR}") == set()
    assert county.client.get("/api/v1/incidents?show=all").status_code == 422
    world.advance(minutes=60 * 25)
    assert codes("") == {first}


def test_a_long_list_takes_no_more_statements_than_a_short_one(site: Site) -> None:
    """One statement each for incidents, journals and pictures, however many incidents there are."""
    world = site.world
    county = site.login("county")
    counted: list[str] = []
    event.listen(world.database.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))

    def statements() -> int:
        counted.clear()
        county.json("/api/v1/incidents")
        return len(counted)

    world.sighting()
    few = statements()
    for turn in range(5):
        world.advance(minutes=30)
        code = world.sighting(at=(FIELD[0] - 0.004 * turn, FIELD[1]))
        world.apply(code, Event.MARK_FALSE, "county", reason="fog")
    assert len(county.json("/api/v1/incidents")["incidents"]) > 2
    assert statements() == few


def test_outlines_come_in_one_statement(site: Site) -> None:
    """The map of a city is a thousand outlines: they are not fetched one by one."""
    city = site.login("city")
    counted: list[str] = []
    event.listen(site.world.database.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))
    assert len(city.json("/api/v1/divisions/village")["features"]) == 3
    assert len([one for one in counted if "divisions.geometry" in one.lower()]) == 1


def test_outlines_and_cameras_are_those_of_the_area(site: Site) -> None:
    """The map gets what lies in the person's area, as GeoJSON, and cameras with their health in words."""
    county = site.login("county")
    towns = county.json("/api/v1/divisions/township")
    assert [one["properties"]["name"] for one in towns["features"]] == ["石梁镇"]
    assert towns["features"][0]["geometry"]["type"] == "Polygon"
    assert [one["state_text"] for one in county.json("/api/v1/cameras")["cameras"]] == ["未上报"]
    assert site.login("other-county").json("/api/v1/cameras")["cameras"] == []
    assert county.client.get("/api/v1/divisions/galaxy").status_code == 404


def test_health_needs_no_login_and_tells_when_nobody_sweeps(site: Site) -> None:
    """Fine at first; unwell once a step is overdue by more than ten seconds."""
    client = site.app.test_client()
    assert client.get("/healthz").get_json()["ok"] is True
    site.world.sighting()
    site.world.now += timedelta(minutes=5)  # time passes and no sweep runs
    reply = client.get("/healthz")
    assert (reply.status_code, reply.get_json()["ok"]) == (503, False)
    site.world.sweep()
    assert client.get("/healthz").status_code == 200


def test_a_huge_upload_is_refused(site: Site) -> None:
    """A photograph beyond all sense is refused before it is read."""
    worker = site.login("worker-1")
    reply = worker.client.post(
        "/api/v1/answers",
        data=b"x" * (25 * 1024 * 1024),
        content_type="application/json",
        headers={"X-CSRFToken": worker.token},
    )
    assert reply.status_code == 413
    assert reply.get_json()["message"] == "照片太大了。"


def test_the_photograph_kept_is_the_photograph_sent(site: Site) -> None:
    """What is kept as evidence opens and has the size it was sent with."""
    code = site.world.dispatched()
    worker = site.login("worker-1")
    worker.answer(code, "accept")
    worker.answer(code, "arrive")
    worker.answer(code, "report_done", photo=jpeg(200, 640, 480))
    url = worker.json(f"/api/v1/incidents/{code}")["incident"]["photos"][0]["url"]
    assert Image.open(io.BytesIO(worker.client.get(url, buffered=True).data)).size == (640, 480)


def test_a_program_reports_what_no_camera_saw(site: Site) -> None:
    """Opened, joined by the next, named on the console by its source; nonsense is refused by field."""
    county = site.login("county")
    token = county.json("/api/v1/me")["csrf_token"]

    def post(**fields: Any) -> Any:
        given = {"id": "report-0001", "source": "satellite", "lat": FIELD[0], "lon": FIELD[1], "error_m": 375}
        given |= {"seen_at": site.world.now.isoformat()} | fields
        return county.client.post("/api/v1/reports", json=given, headers={"X-CSRFToken": token})

    first = post().get_json()
    assert first["result"] == "opened"
    assert post().get_json()["result"] == "duplicate"
    second = post(id="report-0002", source="hotline").get_json()
    assert (second["result"], second["incident"]) == ("joined", first["incident"])
    page = county.get(f"/console/{first['incident']}").text
    assert "卫星报告火点" in page
    assert "热线也报告了这里" in page
    assert "没有镜头画面" in page
    assert "图片未到" not in page
    for field, value in (
        ("id", "x"),
        ("source", "rumour"),
        ("lat", "north"),
        ("error_m", 0),
        ("seen_at", "2026-10-08"),
    ):
        refused = post(**({"id": "report-0003"} | {field: value}))
        assert (refused.status_code, refused.get_json()["code"]) == (422, "invalid"), field
