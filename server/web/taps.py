# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signed links: the one in a message, which accepts one incident in one person's name, and the browser's receipt.

No login: the ticket in the address is the right. Opening a link changes nothing, since programs that preview links open
them too; the button on its page does, once.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, Response, render_template, request
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.errors import AlreadyAnswered, DomainError, Missing, TooLate
from server.domain.lifecycle import Event, State
from server.models import Incident, JournalEntry, Notice, Person
from server.queries.incidents import place_names
from server.services import actors, incidents, outcomes, tickets
from server.services.tickets import Tap
from server.web import login
from server.web.context import web

blueprint = Blueprint("taps", __name__)


def init(app: Flask) -> None:
    """Take in taps and receipts; after ``security.init``. The ticket stands in for the token against forged forms."""
    app.extensions["csrf"].exempt(blueprint)
    app.register_blueprint(blueprint)


def _key() -> str:
    return web().settings.require_secret_key()


@blueprint.get("/t/<ticket>")
@login.limiter.limit("60 per minute")
def look(ticket: str) -> tuple[str, int]:
    """One page with one button; says no more than the message did, and after its use nothing at all."""
    with web().database.read() as session:
        tap = tickets.read_tap(_key(), ticket, web().now(session))
        incident = _incident(session, tap)
        if _used(session, tap):
            return _page("used", 410)
        if incident.state != State.DISPATCHED.value:
            return _page("over", 410)
        return _page("ask", 200, incident=incident, place=_place(session, incident))


@blueprint.post("/t/<ticket>")
@login.limiter.limit("20 per minute")
def accept(ticket: str) -> tuple[str, int]:
    """Accept it, once."""
    try:
        with web().database.write() as session:
            now = web().now(session)
            tap = tickets.read_tap(_key(), ticket, now)
            incident = incidents.lock(session, _incident(session, tap).code)
            if _used(session, tap):
                return _page("used", 410)
            actor = actors.person(session.get_one(Person, tap.person_id))
            data = {"via": "link"}
            incidents.apply_to(
                session, incident, Event.ACCEPT, actor=actor, now=now, data=data, answer_id=tap.answer_id
            )
            place = _place(session, incident)
    except AlreadyAnswered as error:
        return _page("yours" if error.themselves else "taken", 409)
    return _page("done", 200, incident=incident, place=place)


@blueprint.post("/r/<ticket>")
def receipt(ticket: str) -> Response:
    """A browser's service worker says that a push message arrived; again changes nothing."""
    number = tickets.read_receipt(_key(), ticket)
    with web().database.write() as session:
        notice = session.get(Notice, number)
        if notice is None or notice.channel != "webpush":
            raise Missing("there is no such notice")
        outcomes.record_delivered(session, notice, web().now(session))
    return Response(status=204)


@blueprint.errorhandler(DomainError)
def _refused(error: DomainError) -> Any:
    if request.path.startswith("/r/"):
        return Response(status=404)
    return _page("expired" if isinstance(error, TooLate) else "over", 410 if isinstance(error, TooLate) else 404)


def _incident(session: Session, tap: Tap) -> Incident:
    incident = session.get(Incident, tap.incident_id)
    if incident is None:
        raise Missing("there is no such incident")
    return incident


def _used(session: Session, tap: Tap) -> bool:
    return session.scalar(select(JournalEntry.id).where(JournalEntry.answer_id == tap.answer_id)) is not None


def _place(session: Session, incident: Incident) -> str:
    code = incident.grid_code or incident.county_code
    return place_names(session, {code}).get(code, "")


def _page(what: str, status: int, **fields: Any) -> tuple[str, int]:
    words = {
        "used": _("这个链接已经用过了。"),
        "over": _("这个链接现在没有用处。请登录查看。"),
        "expired": _("这个链接已过期。请登录查看。"),
        "yours": _("您已经签收过了。"),
        "taken": _("已由他人签收。"),
        "done": _("已签收。请尽快赶赴现场。"),
    }
    return render_template("tap.html", what=what, says=words.get(what), **fields), status
