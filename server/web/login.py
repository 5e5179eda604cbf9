# SPDX-License-Identifier: AGPL-3.0-or-later
"""Logging in and out, by login name or telephone number."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, flash, g, redirect, render_template, request, session
from flask_babel import gettext as _
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_login import current_user as flask_user
from sqlalchemy import or_, select
from werkzeug.security import check_password_hash, generate_password_hash

from server.admin.phones import to_e164
from server.domain.errors import Invalid
from server.models import Person
from server.queries import viewer as viewers
from server.queries.viewer import Viewer
from server.web.context import web
from server.web.errors import NotLoggedIn, WrongPassword
from server.web.links import home, local_path

limiter = Limiter(get_remote_address, storage_uri="memory://", headers_enabled=True)
blueprint = Blueprint("login", __name__)
# Checked for a name that does not exist, so that the answer takes as long.
_NOBODYS_HASH = generate_password_hash("nobody has this password")


class User(UserMixin):  # type: ignore[misc]
    """The logged-in person. The session epoch in the id makes every older session invalid at once."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    def get_id(self) -> str:
        """``<number>:<epoch>``."""
        return f"{self.viewer.id}:{self.viewer.session_epoch}"


def init(app: Flask) -> None:
    """Set up sessions of people and the limits on guessing."""
    manager = LoginManager()
    manager.session_protection = None  # phones change their address all day
    manager.user_loader(load_user)
    manager.init_app(app)
    limiter.init_app(app)
    app.before_request(_remember_viewer)
    app.register_blueprint(blueprint)


def load_user(user_id: str) -> User | None:
    """The person of a session; None when they were signed out everywhere or are no longer active."""
    number, _colon, epoch = user_id.partition(":")
    if not (number.isdigit() and epoch.isdigit()):
        return None
    with web().database.read() as database_session:
        viewer = viewers.load(database_session, int(number))
    if viewer is None or viewer.session_epoch != int(epoch):
        return None
    return User(viewer)


def _remember_viewer() -> None:
    g.viewer = None
    if request.endpoint not in ("static", "api.healthz") and flask_user.is_authenticated:
        g.viewer = flask_user.viewer


def require_login() -> Response | None:
    """Before the requests of a blueprint: browsers go to the login page, programs get 401."""
    if g.viewer is not None:
        return None
    if request.method == "GET" and request.accept_mimetypes.accept_html and not request.path.startswith("/api/"):
        return redirect(f"/login?next={quote(local_path(request.full_path.rstrip('?')))}")  # type: ignore[return-value]
    raise NotLoggedIn


def authenticate(name: str, password: str) -> Viewer:
    """Log in by login name or telephone number, however written. Raises WrongPassword."""
    name = name.strip()
    phone = _number(name)
    meant = Person.login == name if phone is None else or_(Person.login == name, Person.phone == phone)
    with web().database.read() as database_session:
        person = database_session.scalars(
            select(Person).where(meant, Person.active.is_(True)).order_by((Person.login == name).desc(), Person.id)
        ).first()
        stored = person.password_hash if person is not None else None
        good = check_password_hash(stored or _NOBODYS_HASH, password)
        if person is None or stored is None or not good:
            raise WrongPassword
        viewer = viewers.to_viewer(person)
    session.clear()  # whoever planted the session before knows nothing of the one after, its token least of all
    session.permanent = True
    login_user(User(viewer))
    g.viewer = viewer
    return viewer


def _number(name: str) -> str | None:
    try:
        return to_e164(name[:40])
    except Invalid:
        return None


def _by_name() -> str:
    """A number's spellings count together: each of its own would be ten tries more."""
    fields: Any = request.get_json(silent=True) if request.is_json else request.form
    name = str(fields.get("login", "") if hasattr(fields, "get") else "").strip()
    return _number(name) or name.lower()[:64]


def limit_guessing(view: Any) -> Any:
    """Ten tries a minute for a name, sixty for an address (a whole office may share one)."""
    by_name = limiter.limit("10 per minute", key_func=_by_name, methods=["POST"])
    return by_name(limiter.limit("60 per minute", methods=["POST"])(view))


# More than any hand or satellite pass gives, far less than would drown the people who are called out by it.
limit_person = limiter.limit("120 per minute", key_func=lambda: f"person:{g.viewer.id}")


@blueprint.get("/login")
def page() -> str | Response:
    """The form."""
    if g.viewer is not None:
        return redirect(home(g.viewer))  # type: ignore[return-value]
    return render_template("login.html", next=request.args.get("next", ""), name="")


def submit() -> Any:
    """Take the form."""
    name = request.form.get("login", "")
    wanted = request.form.get("next") or ""
    try:
        viewer = authenticate(name, request.form.get("password", ""))
    except WrongPassword:
        flash(_("名字或密码不对。"), "error")
        return render_template("login.html", next=wanted, name=name), 401
    return redirect(local_path(wanted) if wanted else home(viewer))


blueprint.post("/login")(limit_guessing(submit))


@blueprint.post("/logout")
def logout() -> Response:
    """Log out on this device."""
    logout_user()
    session.clear()
    return redirect("/login")  # type: ignore[return-value]


@blueprint.get("/")
def front() -> Response:
    """To where the person's work is."""
    return redirect(home(g.viewer) if g.viewer is not None else "/login")  # type: ignore[return-value]
