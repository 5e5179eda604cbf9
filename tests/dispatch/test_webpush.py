# SPDX-License-Identifier: AGPL-3.0-or-later
"""Web push to a local push service that decrypts as a browser does and checks who sent it."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid
from sqlalchemy import select

from dispatch.channels import Never, Outgoing, Sent, TryAgain
from dispatch.channels.webpush import WebPushChannel
from dispatch.reach import Reach
from server.domain.errors import Invalid
from server.models import Person, PushSubscription
from server.services import push, tickets
from server.settings import Push
from tests.support.http_peer import HttpPeer, Request, http_peer
from tests.support.world import World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SECRET = "k" * 40
NOTICE = "0193b0a0-0000-4000-8000-000000000001"


def b64(raw: bytes) -> str:
    """As browsers write keys."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Browser:
    """A browser's half of the keys."""

    def __init__(self, service: HttpPeer) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.secret = secrets.token_bytes(16)
        self.endpoint = f"{service.url}/push/{secrets.token_hex(4)}"
        point = serialization.PublicFormat.UncompressedPoint
        self.public = self.private.public_key().public_bytes(serialization.Encoding.X962, point)

    def read(self, request: Request) -> dict[str, Any]:
        """Decrypt what the service passes on."""
        plain = http_ece.decrypt(request.body, private_key=self.private, auth_secret=self.secret, version="aes128gcm")
        return dict(json.loads(plain))


def ask(world: World, login: str, browser: Browser, service: HttpPeer) -> None:
    """Somebody's browser asks for push messages."""
    with world.database.write() as session:
        person = session.scalars(select(Person).where(Person.login == login)).one()
        push.subscribe(
            session,
            person,
            browser.endpoint,
            b64(browser.public),
            b64(browser.secret),
            origins=[service.url],
            now=world.now,
        )


@contextmanager
def channel(world: World) -> Iterator[tuple[WebPushChannel, str]]:
    """The channel with a key of its own."""
    key = push.new_key()
    opened = WebPushChannel(world.database, Push(key, "mailto:duty@example.org"), SECRET)
    yield opened, key
    opened.close()


def notice(login: str = "worker-1") -> Outgoing:
    """A notice to somebody."""
    payload = {
        "id": NOTICE,
        "incident": "K7F3",
        "title": "疑似焚烧 东村",
        "text": "K7F3 东村 疑似焚烧",
        "kind": "dispatch",
    }
    return Outgoing(NOTICE, login, None, "zh", payload)


def test_the_browser_can_read_it_and_nobody_else_and_the_service_sees_who_sent_it(world: World) -> None:
    """Encrypted for the browser's key (RFC 8291), signed by ours (RFC 8292), urgent, kept half an hour."""
    with http_peer() as service, channel(world) as (webpush, key):
        browser, other = Browser(service), Browser(service)
        ask(world, "worker-1", browser, service)
        assert webpush.send(notice()) == Sent()
        (request,) = service.requests
        told = browser.read(request)
        assert (told["title"], told["url"], told["kind"]) == ("疑似焚烧 东村", "/w/K7F3", "dispatch")
        assert tickets.read_receipt(SECRET, told["receipt"].removeprefix("/r/")) == NOTICE
        with pytest.raises(http_ece.ECEException):
            other.read(request)
        assert (request.headers["urgency"], request.headers["ttl"]) == ("high", "1800")
        assert "东村".encode() not in request.body
        scheme, _, rest = request.headers["authorization"].partition(" ")
        fields = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert (scheme, fields["k"]) == ("vapid", push.public_key(key))
        assert Vapid.verify(request.headers["authorization"])


@pytest.mark.parametrize(
    ("status", "kind"), [(429, TryAgain), (500, TryAgain), (400, Never), (410, Never), (404, Never)]
)
def test_the_services_answers_have_their_meaning(world: World, status: int, kind: type) -> None:
    """And a browser that is gone is forgotten."""
    with http_peer() as service, channel(world) as (webpush, _key):
        ask(world, "worker-1", Browser(service), service)
        service.answers = [(status, b"")]
        assert isinstance(webpush.send(notice()), kind)
        with world.database.read() as session:
            assert len(session.scalars(select(PushSubscription)).all()) == (0 if status in (404, 410) else 1)


def test_of_several_browsers_one_is_enough(world: World) -> None:
    """One is gone, the other takes it."""
    with http_peer() as service, channel(world) as (webpush, _key):
        ask(world, "worker-1", Browser(service), service)
        ask(world, "worker-1", Browser(service), service)
        service.answers = [(410, b"")]
        assert webpush.send(notice()) == Sent()


def test_all_browsers_of_a_person_are_told_also_the_first_that_asked(world: World) -> None:
    """The telephone asked first, four screens of the office later; the three newest are gone."""
    with http_peer() as service, channel(world) as (webpush, _key):
        browsers = [Browser(service) for _ in range(5)]
        for browser in browsers:
            ask(world, "worker-1", browser, service)
        service.answers = [(410, b"")] * 3
        assert webpush.send(notice()) == Sent()
        assert browsers[0].read(service.requests[-1])["title"] == "疑似焚烧 东村"
        with world.database.read() as session:
            assert len(session.scalars(select(PushSubscription)).all()) == 2


def test_without_a_browser_it_leads_to_nobody(world: World) -> None:
    """Only who asked is counted as reachable so."""
    with http_peer() as service, channel(world) as (webpush, _key):
        assert isinstance(webpush.send(notice("worker-2")), Never)
        ask(world, "worker-1", Browser(service), service)
        reach = Reach(["mqtt", "webpush"])
        with world.database.read() as session:
            reach.refresh(session)
            people = {one.login: [name for name, _ in reach.of(one)] for one in session.scalars(select(Person))}
        assert people["worker-1"] == ["mqtt", "webpush"]
        assert people["worker-2"] == ["mqtt"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com.example.org/x",
        "https://127.0.0.1:5432/",
        "https://evil-notify.windows.com/x",
        "https://evil.example\\.push.apple.com/x",
        "https://evil.example:443@web.push.apple.com/x",
        "file:///etc/passwd",
    ],
)
def test_this_server_writes_to_push_services_alone(world: World, endpoint: str) -> None:
    """An address elsewhere is refused: it would make us knock on any door."""
    with world.database.write() as session:
        person = session.get_one(Person, 1)
        with pytest.raises(Invalid):
            push.subscribe(session, person, endpoint, b64(b"x" * 65), b64(b"y" * 16), origins=[], now=world.now)
