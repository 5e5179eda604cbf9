# SPDX-License-Identifier: AGPL-3.0-or-later
"""The web application on the small region, and people who have logged in to it."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from sqlalchemy.orm import Session
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from server.models import Person
from server.settings import Settings
from server.web.app import create_app
from server.web.context import Web
from tests.support.world import World

PASSWORD = "correct horse 1530"
# Few rounds, so that the tests spend their time elsewhere.
_HASH = generate_password_hash(PASSWORD, "pbkdf2:sha256:10")


class WorldClock:
    """The world's standing clock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self, _session: Session) -> datetime:
        """The world's moment."""
        return self._world.now


@dataclass
class Visitor:
    """A logged-in person's browser or program."""

    client: FlaskClient
    token: str
    login: str

    def get(self, path: str, **how: Any) -> TestResponse:
        """A GET as a browser sends it."""
        return self.client.get(path, headers={"Accept": "text/html,*/*"}, **how)

    def json(self, path: str) -> Any:
        """A GET of the API that must succeed."""
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.get_json()

    def answer(self, code: str, event: str, *, photo: bytes | None = None, **fields: Any) -> TestResponse:
        """POST an answer; its id is minted here unless given."""
        content = {"id": str(uuid.uuid4()), "incident": code, "event": event, **fields}
        headers = {"X-CSRFToken": self.token}
        if photo is None:
            return self.client.post("/api/v1/answers", json=content, headers=headers)
        form = {**content, "photo": (io.BytesIO(photo), "photo.jpg")}
        return self.client.post("/api/v1/answers", data=form, headers=headers)

    def submit(self, path: str, **fields: Any) -> TestResponse:
        """POST a plain form, as a browser without script does, and follow to the next page."""
        form = {"csrf_token": self.token, "id": str(uuid.uuid4()), **fields}
        return self.client.post(path, data=form, headers={"Accept": "text/html"}, follow_redirects=True)


@dataclass
class Site:
    """The application on the world's database."""

    world: World
    app: Flask
    folder: Path
    running: list[bool] = field(default_factory=lambda: [True])

    @property
    def parts(self) -> Web:
        """What the application was made of."""
        parts = self.app.extensions["straw1530"]
        assert isinstance(parts, Web)
        return parts

    def login(self, who: str, *, language: str = "zh") -> Visitor:
        """Somebody's own browser, logged in."""
        client = self.app.test_client()
        client.set_cookie("lang", language)
        token = client.get("/api/v1/me").get_json()["csrf_token"]
        reply = client.post(
            "/api/v1/session", json={"login": who, "password": PASSWORD}, headers={"X-CSRFToken": token}
        )
        assert reply.status_code == 200, reply.text
        return Visitor(client, reply.get_json()["csrf_token"], who)


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Site]:
    """The web application; everybody's password is PASSWORD."""
    with world.database.write() as session:
        session.execute(update(Person).values(password_hash=_HASH))
    url = world.database.url.render_as_string(hide_password=False)
    settings = Settings(data_dir=tmp_path, database_url=url, secret_key="k" * 40, broker=None)
    running = [True]
    app = create_app(settings, world.database, WorldClock(world), max_streams=4, alive=lambda: running[0])
    site = Site(world, app, tmp_path, running)
    yield site
    running[0] = False
    site.parts.bell.close()


@pytest.fixture
def token_of() -> Callable[[TestResponse], str]:
    """Reads the CSRF token out of a page."""

    def read(page: TestResponse) -> str:
        found = re.search(r'name="csrf-token" content="([^"]+)"', page.text)
        assert found is not None
        return found[1]

    return read
