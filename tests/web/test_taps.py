# SPDX-License-Identifier: AGPL-3.0-or-later
"""The signed link in a message, the browser's receipt, and browsers that ask for push messages."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from dispatch.expand import Expander
from dispatch.reach import Links
from dispatch.texts import room
from server.domain.lifecycle import Event, State
from server.models import Division, Notice, Person, PushSubscription
from server.services import outcomes, push, tickets
from server.settings import Push
from tests.dispatch.helpers import ZONE, expand
from tests.support.world import FIELD, World
from tests.web.conftest import Site

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
KEY = "k" * 40


def link(world: World, code: str, login: str, until: datetime | None = None) -> str:
    """The link that somebody was sent for an incident."""
    with world.database.read() as session:
        number = session.scalars(select(Notice.incident_id).where(Notice.incident_id.is_not(None))).first()
    assert number is not None
    return "/t/" + tickets.tap(KEY, number, world.people[login], until or world.now + timedelta(hours=1))


def test_opening_a_link_changes_nothing_and_its_button_accepts_once(site: Site) -> None:
    """Programs that preview links open them: only the button acts; used, the link says nothing more to anybody."""
    world, code = site.world, site.world.sighting(at=FIELD)
    expand(world, ["mqtt"])
    path = link(world, code, "worker-1")
    stranger = site.app.test_client()
    for _ in range(2):
        page = stranger.get(path)
        assert page.status_code == 200
        assert code in page.text
        assert "<button" in page.text
    assert world.state(code) is State.DISPATCHED
    assert site.app.test_client().post(path).status_code == 200
    assert world.state(code) is State.ACCEPTED
    (line,) = [entry for entry in world.journal(code) if entry.event is Event.ACCEPT]
    assert (line.actor, line.data["via"]) == (f"person:{world.people['worker-1']}", "link")
    for answer in (stranger.get(path), stranger.post(path)):
        assert answer.status_code == 410
        assert code not in answer.text
        assert "东村" not in answer.text
    assert world.events(code).count("accept") == 1


def test_a_used_link_does_not_accept_again_what_was_given_back(site: Site) -> None:
    """Replayed after an undo it is still used, and the same bytes spelled otherwise are no link."""
    world, code = site.world, site.world.sighting(at=FIELD)
    expand(world, ["mqtt"])
    path = link(world, code, "worker-1")
    site.app.test_client().post(path)
    world.apply(code, Event.UNDO, "worker-1")
    assert site.app.test_client().post(path).status_code == 410
    respelled = path[:-1] + chr(ord(path[-1]) + 1)  # the last sign's spare bits
    assert site.app.test_client().post(respelled).status_code == 404
    assert world.state(code) is State.DISPATCHED


def test_expired_forged_and_foreign_links_are_of_no_use(site: Site) -> None:
    """Each is refused and changes nothing."""
    world, code = site.world, site.world.sighting(at=FIELD)
    expand(world, ["mqtt"])
    path = link(world, code, "worker-1")
    ticket = path.removeprefix("/t/")
    flipped = ticket[:3] + ("A" if ticket[3] != "A" else "B") + ticket[4:]
    receipt = tickets.receipt(KEY, "0193b0a0-0000-4000-8000-000000000001")
    other_key = tickets.tap("x" * 40, 1, world.people["worker-1"], world.now + timedelta(hours=1))
    for forged in (flipped, ticket[:-2], "x", "%00", receipt, other_key):
        assert site.app.test_client().post(f"/t/{forged}").status_code == 404, forged
    not_theirs = link(world, code, "stranger")
    assert site.app.test_client().post(not_theirs).status_code == 404
    world.now += timedelta(hours=1, seconds=1)
    assert site.app.test_client().get(path).status_code == 410
    assert site.app.test_client().post(path).status_code == 410
    assert world.state(code) is State.DISPATCHED


def test_whoever_is_second_is_told_so(site: Site) -> None:
    """The first answer wins, whatever way it came."""
    world, code = site.world, site.world.sighting(at=FIELD)
    expand(world, ["mqtt"])
    path = link(world, code, "worker-1")
    world.apply(code, Event.ACCEPT, "worker-2")
    answer = site.app.test_client().post(path)
    assert answer.status_code == 409
    assert "已由他人签收" in answer.text


def test_whoever_accepted_another_way_is_not_told_that_somebody_else_did(site: Site) -> None:
    """Their own acceptance stands, and the page says whose it is."""
    world, code = site.world, site.world.sighting(at=FIELD)
    expand(world, ["mqtt"])
    path = link(world, code, "worker-1")
    world.apply(code, Event.ACCEPT, "worker-1")
    answer = site.app.test_client().post(path)
    assert answer.status_code == 409
    assert "您已经签收过了" in answer.text
    page = site.login("worker-1").submit(f"/w/{code}/answer", event="accept")
    assert "您已经签收过了" in page.text


def test_texts_hold_a_link_only_where_the_country_takes_one(world: World) -> None:
    """To a mainland number none; abroad the link and the code to send back, in one segment."""
    links = Links("https://a.example", KEY, replies=True)
    with world.database.write() as session:
        session.execute(update(Person).where(Person.login == "worker-1").values(phone="+447700900123", language="en"))
        # In a country that writes so; one sign of another script leaves room for seventy, and no link.
        session.execute(update(Division).values(name="Little Village"))
    world.sighting(at=FIELD)
    with world.database.write() as session:
        Expander(["sms"], ZONE, links=links).step(session, world.now)
    world.advance(minutes=2, seconds=1)
    with world.database.write() as session:
        Expander(["sms"], ZONE, links=links).step(session, world.now)
        rows = session.scalars(select(Notice)).all()
        texts = {(row.person.login, row.person.phone): row.payload["text"] for row in rows}
    mainland = [text for (_, phone), text in texts.items() if phone and phone.startswith("+86")]
    abroad = [text for (_, phone), text in texts.items() if phone and phone.startswith("+44")]
    assert mainland
    assert not any("http" in text for text in mainland)
    assert abroad
    assert all("https://a.example/t/" in text and " or reply " in text for text in abroad)
    assert all(room(text) >= 0 for text in (*mainland, *abroad))


def test_the_browsers_receipt_stamps_the_delivery_once(site: Site) -> None:
    """By its own ticket, without a session; a forged one does nothing."""
    world, code = site.world, site.world.sighting(at=FIELD)
    expand(world, ["mqtt"])
    with world.database.write() as session:
        session.execute(update(Notice).values(channel="webpush"))
        number = session.scalars(select(Notice.id)).one()
        outcomes.record_sent(session, {number: None}, world.now)
    path = f"/r/{tickets.receipt(KEY, number)}"
    others = [path[:-1] + sign for sign in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef0123456789-_" if sign != path[-1]]
    assert {site.app.test_client().post(other).status_code for other in others} == {404}
    for _ in range(2):
        assert site.app.test_client().post(path).status_code == 204
    assert world.events(code).count("delivered") == 1


def test_a_browser_asks_for_push_messages_and_for_no_more(site: Site) -> None:
    """As PushSubscription.toJSON gives it; the page shows the key; another's browser cannot be taken away."""
    assert site.login("worker-1").client.post("/api/v1/push").status_code == 400  # no token
    who = site.login("worker-1")
    keys = {
        "p256dh": base64.urlsafe_b64encode(b"\4" * 65).decode(),
        "auth": base64.urlsafe_b64encode(b"a" * 16).decode(),
    }
    asked = {"endpoint": "https://fcm.googleapis.com/fcm/send/abc", "keys": keys}
    headers = {"X-CSRFToken": who.token}
    assert who.client.post("/api/v1/push", json=asked, headers=headers).status_code == 404  # not set up
    settings = site.parts.settings
    object.__setattr__(settings, "push", Push(push.new_key(), "mailto:a@example.org"))
    assert who.client.post("/api/v1/push", json=asked, headers=headers).status_code == 204
    bad = {**asked, "endpoint": "https://example.org/"}
    assert who.client.post("/api/v1/push", json=bad, headers=headers).status_code == 422
    other = site.login("worker-2")
    other.client.delete("/api/v1/push", json=asked, headers={"X-CSRFToken": other.token})
    with site.world.database.read() as session:
        assert session.scalars(select(PushSubscription.endpoint)).all() == [asked["endpoint"]]
    assert who.client.delete("/api/v1/push", json=asked, headers=headers).status_code == 204
    with site.world.database.read() as session:
        assert session.scalars(select(PushSubscription)).all() == []
    with site.app.test_client().get("/sw.js") as script:
        assert script.status_code == 200
