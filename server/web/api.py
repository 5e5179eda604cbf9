# SPDX-License-Identifier: AGPL-3.0-or-later
"""The JSON API for programs and for the pages' own scripts. docs/api.md describes it."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, g, jsonify, request, send_file
from flask_login import logout_user
from flask_wtf.csrf import generate_csrf
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from server.domain.errors import Invalid, Missing
from server.models import Deadline, Person
from server.queries import detail as details
from server.queries import incidents, region
from server.queries import viewer as viewers
from server.services import reports
from server.services.pictures import file_of
from server.web import answers, events, login, payloads, tips
from server.web.context import json_object, viewer, web

blueprint = Blueprint("api", __name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FREE = {"api.me", "api.log_in", "api.healthz"}
_LEVELS = ("city", "county", "township", "village", "grid", "zone")


@blueprint.before_request
def _guard() -> Response | None:
    return None if request.endpoint in _FREE else login.require_login()


@blueprint.get("/api/v1/me")
def me() -> Response:
    """Who is logged in (null before that) and the token that every POST carries in X-CSRFToken."""
    person = payloads.person(g.viewer) if g.viewer is not None else None
    return jsonify(person=person, csrf_token=generate_csrf())


def log_in() -> Response:
    """Log a program in: JSON {login, password}."""
    fields = json_object()
    found = login.authenticate(str(fields.get("login", "")), str(fields.get("password", "")))
    return jsonify(person=payloads.person(found), csrf_token=generate_csrf())


blueprint.post("/api/v1/session")(login.limit_guessing(log_in))


@blueprint.delete("/api/v1/session")
def log_out() -> Response:
    """Log out."""
    logout_user()
    return jsonify(person=None)


@blueprint.get("/api/v1/incidents")
def incident_list() -> Response:
    """Filters: show=live|open|ended, area=<code of a division>."""
    show = request.args.get("show", "live")
    if show not in ("live", "open", "ended"):
        raise Invalid(f"show: 'live', 'open' or 'ended', not {show[:20]!r}")
    with web().database.read() as session:
        now = web().now(session)
        found = incidents.listed(session, viewer(), now, show=show, area=request.args.get("area"))
        return jsonify(now=now.isoformat(), incidents=[payloads.summary(one) for one in found])


@blueprint.get("/api/v1/incidents/<code>")
def incident(code: str) -> Response:
    """One incident in full."""
    with web().database.read() as session:
        now = web().now(session)
        found = details.detail(session, viewer(), code, now)
        if found is None:
            raise Missing(f"there is no incident {code!r}")
        return jsonify(now=now.isoformat(), incident=payloads.detail(found))


@blueprint.post("/api/v1/answers")
@login.limit_person
def answer() -> Response:
    """An answer: JSON, or a multipart form with the file field ``photo`` for report_done."""
    given: Any = request.get_json() if request.is_json else request.form
    if not hasattr(given, "get"):
        raise Invalid("an answer is a JSON object or a form")
    photos = [file.read() for file in request.files.getlist("photo") if file]
    with web().database.write() as session:
        now = web().now(session)
        folder = web().settings.evidence_dir
        outcome = answers.submit(session, viewer(), answers.parse(given), photos, folder=folder, now=now)
    return jsonify(
        id=given.get("id"),
        result=outcome.result,
        incident=outcome.incident,
        state=outcome.state.value,
        seq=outcome.seq,
        now=now.isoformat(),
    )


@blueprint.post("/api/v1/reports")
@login.limit_person
def report() -> Response:
    """A fire that no camera reported."""
    tip = tips.parse(request.get_json())
    with web().database.write() as session:
        now = web().now(session)
        found = reports.record(session, tip, session.get_one(Person, viewer().id), now)
        result = "duplicate" if found.duplicate else "opened" if found.opened else "joined"
        return jsonify(id=tip.id, result=result, incident=found.incident.code, now=now.isoformat())


@blueprint.get("/api/v1/state")
def state() -> Response:
    """What the live connection tells, for who polls."""
    return jsonify(events.state(web(), viewer()))


@blueprint.get("/api/v1/events")
def live() -> Response:
    """The live connection: server-sent events ``state`` and ``bye``."""
    return events.stream(web(), viewer())


@blueprint.get("/api/v1/divisions/<level>")
def divisions(level: str) -> Response:
    """Outlines as GeoJSON, WGS-84; ``within=<code>`` narrows them."""
    if level not in _LEVELS:
        raise Missing(f"there is no level {level!r}")
    with web().database.read() as session:
        found = region.outlines(session, viewer(), level, request.args.get("within"))
    response = jsonify(found)
    response.headers["Cache-Control"] = "private, max-age=600"
    return response


@blueprint.get("/api/v1/cameras")
def cameras() -> Response:
    """The cameras of the viewer's area with their health."""
    with web().database.read() as session:
        return jsonify(cameras=[payloads.camera(camera) for camera in region.cameras(session, viewer())])


@blueprint.get("/media/<sha256>.jpg")
def media(sha256: str) -> Response:
    """A picture, for people concerned. Its name is its digest, so it never changes."""
    if not _SHA256.fullmatch(sha256):
        raise Missing("there is no such picture")
    with web().database.read() as session:
        allowed = viewers.may_see_picture(session, viewer(), sha256)
    path = file_of(web().settings.evidence_dir, sha256)
    if not allowed or not path.is_file():
        raise Missing("there is no such picture")
    response = send_file(path, mimetype="image/jpeg", etag=sha256, conditional=True)
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return response


@blueprint.get("/healthz")
def healthz() -> tuple[Response, int]:
    """Whether the database answers, when the clock last fired, and how many deadlines are overdue by more than ten
    seconds (which means that nobody sweeps)."""
    try:
        with web().database.read() as session:
            session.execute(text("SELECT 1"))
            now = web().now(session)
            last = session.scalar(select(func.max(Deadline.fired_at)))
            waiting = (Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
            oldest = session.scalar(select(func.min(Deadline.due_at)).where(*waiting))
    except SQLAlchemyError:
        return jsonify(ok=False, database="unreachable"), 503
    late_s = (now - oldest).total_seconds() if oldest is not None and oldest < now else 0.0
    return (
        jsonify(
            ok=late_s < 10,
            database="ok",
            now=now.isoformat(),
            last_sweep=last.isoformat() if last else None,
            oldest_step_late_s=round(late_s, 3),
        ),
        200 if late_s < 10 else 503,
    )
