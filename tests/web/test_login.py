# SPDX-License-Identifier: AGPL-3.0-or-later
"""Logging in, staying in, and being put out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update
from werkzeug.test import TestResponse

from server.models import Person
from server.settings import Settings, SettingsError
from server.web.app import create_app
from tests.web.conftest import PASSWORD, Site, WorldClock

# The pages are the same on every database: one is enough here.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
Token = Callable[[TestResponse], str]


def _submit(site: Site, token_of: Token, login: str, password: str, **fields: str) -> TestResponse:
    client = site.app.test_client()
    token = token_of(client.get("/login"))
    form = {"csrf_token": token, "login": login, "password": password, **fields}
    return client.post("/login", data=form, headers={"Accept": "text/html"})


def _set(site: Site, login: str, **values: object) -> None:
    with site.world.database.write() as session:
        session.execute(update(Person).where(Person.login == login).values(**values))


@pytest.mark.parametrize(
    "name",
    [
        *("worker-1", " worker-1 ", "+8612000000001", "12000000001"),
        *("120 0000 0001", "１２００００００００１", "0086-12000000001", "8612000000001"),
    ],
)
def test_a_worker_logs_in_by_name_or_number(site: Site, token_of: Token, name: str) -> None:
    """The login name and the telephone number, however it is written, lead to the worker's page."""
    reply = _submit(site, token_of, name, PASSWORD)
    assert (reply.status_code, reply.location) == (302, "/w")


def test_a_supervisor_comes_to_the_console(site: Site, token_of: Token) -> None:
    """Who oversees starts at the console."""
    assert _submit(site, token_of, "county", PASSWORD).location == "/console"


@pytest.mark.parametrize("name", ["worker-1", "nobody"])
def test_a_wrong_password_and_an_unknown_name_read_the_same(site: Site, token_of: Token, name: str) -> None:
    """Nothing tells whether the name exists."""
    reply = _submit(site, token_of, name, "wrong")
    assert reply.status_code == 401
    assert "名字或密码不对" in reply.text


def test_who_has_no_password_yet_or_is_not_active_cannot_log_in(site: Site, token_of: Token) -> None:
    """A person without a password, and one who left, are kept out."""
    _set(site, "worker-1", password_hash=None)
    _set(site, "worker-2", active=False)
    assert _submit(site, token_of, "worker-1", "").status_code == 401
    assert _submit(site, token_of, "worker-2", PASSWORD).status_code == 401


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(site: Site, token_of: Token) -> None:
    """HttpOnly and SameSite always, Secure when the page came over https."""
    cookie = _submit(site, token_of, "worker-1", PASSWORD).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    client = site.app.test_client()
    page = client.get("/login", base_url="https://straw.example")
    assert "Secure" in page.headers["Set-Cookie"]
    assert page.headers["Strict-Transport-Security"]


def test_a_new_session_epoch_ends_every_session(site: Site) -> None:
    """Changing the password (which counts the epoch up) signs the person out everywhere."""
    worker = site.login("worker-1")
    assert worker.get("/w").status_code == 200
    _set(site, "worker-1", session_epoch=1)
    assert worker.client.get("/api/v1/incidents").status_code == 401
    assert "/login" in worker.get("/w").location


def test_who_is_switched_off_is_out_at_once(site: Site) -> None:
    """An inactive person's session no longer counts."""
    worker = site.login("worker-1")
    _set(site, "worker-1", active=False)
    assert worker.client.get("/api/v1/incidents").status_code == 401


def test_logging_out_ends_the_session(site: Site) -> None:
    """After logging out the pages ask for a login again."""
    worker = site.login("worker-1")
    assert worker.submit("/logout").status_code == 200
    assert worker.client.get("/api/v1/incidents").status_code == 401


def test_guessing_is_limited_by_name(site: Site, token_of: Token) -> None:
    """After ten tries in a minute a name is refused, whatever the password; another name is not."""
    replies = [_submit(site, token_of, "worker-1", "wrong").status_code for _ in range(11)]
    assert replies == [401] * 10 + [429]
    assert _submit(site, token_of, "worker-1", PASSWORD).status_code == 429
    assert _submit(site, token_of, "worker-2", PASSWORD).status_code == 302


def test_a_form_without_its_token_is_refused(site: Site) -> None:
    """A page of another site cannot post for a person."""
    worker = site.login("worker-1")
    worker.token = "forged"
    reply = worker.answer("AAAA", "accept")
    assert (reply.status_code, reply.get_json()["code"]) == (400, "csrf")


def test_a_token_from_before_the_login_is_worth_nothing_after_it(site: Site, token_of: Token) -> None:
    """Whoever planted the session before the login knows no token of the one after."""
    client = site.app.test_client()
    token = token_of(client.get("/login"))
    form = {"csrf_token": token, "login": "worker-1", "password": PASSWORD}
    assert client.post("/login", data=form).status_code == 302
    headers = {"X-CSRFToken": token}
    assert client.post("/api/v1/answers", json={}, headers=headers).get_json()["code"] == "csrf"
    headers = {"X-CSRFToken": client.get("/api/v1/me").get_json()["csrf_token"]}
    assert client.post("/api/v1/answers", json={}, headers=headers).get_json()["code"] == "invalid"


def test_the_whole_address_asked_for_survives_the_login(site: Site) -> None:
    """Also where it has a query of its own."""
    asked = site.app.test_client().get("/console?show=open&x=1", headers={"Accept": "text/html"})
    assert asked.location == "/login?next=/console%3Fshow%3Dopen%26x%3D1"


@pytest.mark.parametrize("wanted", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_login_never_leads_to_another_site(site: Site, token_of: Token, wanted: str) -> None:
    """The address to go on to is one on this server, or the front page."""
    assert _submit(site, token_of, "worker-1", PASSWORD, next=wanted).location == "/"


def test_login_leads_back_to_the_page_asked_for(site: Site, token_of: Token) -> None:
    """Who opened an incident's page comes to it after the login."""
    asked = site.app.test_client().get("/w/K7F3", headers={"Accept": "text/html"})
    assert asked.location == "/login?next=/w/K7F3"
    assert _submit(site, token_of, "worker-1", PASSWORD, next="/w/K7F3").location == "/w/K7F3"


def test_every_page_forbids_inline_script_and_framing(site: Site) -> None:
    """The content policy allows this server's own files alone, and the pages hold to it."""
    page = site.login("county").get("/console")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert " style=" not in page.text
    assert " onclick=" not in page.text
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-store"


def test_without_a_secret_key_nothing_starts(site: Site) -> None:
    """There is no default secret: the sentence names the setting."""
    settings = Settings(data_dir=site.folder, database_url="sqlite://", secret_key=None, broker=None)
    with pytest.raises(SettingsError, match="STRAW1530_SECRET_KEY"):
        create_app(settings, site.world.database, WorldClock(site.world))
