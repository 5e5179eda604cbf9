# SPDX-License-Identifier: AGPL-3.0-or-later
"""What Twilio reports: what became of texts and calls, keys pressed on the telephone, and texts sent back.

Believed by the signature alone, so these need no login and no CSRF token. A report that comes twice, late or out of
order changes nothing.
"""

from __future__ import annotations

import logging
import re

from flask import Blueprint, Flask, Response, abort, request
from sqlalchemy import select
from sqlalchemy.orm import Session
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse
from twilio.twiml.voice_response import VoiceResponse

from server.db import Clock, Database
from server.domain.errors import AlreadyAnswered, DomainError
from server.domain.lifecycle import OPEN_STATES, Event
from server.domain.texts import plain
from server.models import Incident, Notice, Person
from server.services import actors, incidents, outcomes
from server.settings import StatusReports

log = logging.getLogger("callbacks")

_ARRIVED = frozenset({"delivered", "read", "completed"})
_LOST = frozenset({"undelivered", "failed", "canceled", "busy", "no-answer"})
_SAY = {"zh": "zh-CN", "en": "en-US"}
_WORDS = {
    "zh": {
        "accepted": "{code} 已签收，请尽快赶赴现场。",
        "yours": "{code} 您已经签收过了。",
        "taken": "{code} 已由他人签收。",
        "refused": "{code} 现在不能签收，请打开网页查看。",
        "unclear": "没有听懂。请回复编号，例如 K7F3。",
    },
    "en": {
        "accepted": "{code} accepted. Please go there now.",
        "yours": "You have accepted {code} already.",
        "taken": "{code} was already accepted by somebody else.",
        "refused": "{code} cannot be accepted now. Please open the page.",
        "unclear": "Not understood. Reply with the code, for example K7F3.",
    },
}


def init(app: Flask, reports: StatusReports, database: Database, clock: Clock) -> None:
    """Take in reports below ``/callbacks/twilio``; after ``security.init``."""
    callbacks = _blueprint(reports, database, clock)
    app.extensions["csrf"].exempt(callbacks)
    app.register_blueprint(callbacks)


def _blueprint(reports: StatusReports, database: Database, clock: Clock) -> Blueprint:
    callbacks = Blueprint("callbacks", __name__, url_prefix="/callbacks/twilio")
    validator = RequestValidator(reports.token)
    base = reports.url.removesuffix("/status")

    @callbacks.before_request
    def check_signature() -> None:
        """403 unless Twilio signed it, for the address it was told: behind a proxy the request's own is another."""
        query = request.query_string.decode()
        address = f"{base}/{request.path.rpartition('/')[2]}" + (f"?{query}" if query else "")
        if not validator.validate(address, request.form, request.headers.get("X-Twilio-Signature", "")):
            log.warning("a report with a bad signature came from %s", request.remote_addr)
            abort(403)

    @callbacks.post("/status")
    def status() -> Response:
        """A text or a call has gone one step further; 204, or 404 for a notice nobody sent."""
        with database.write() as session:
            notice = _notice(session)
            # Locked first: while our own record of the sending is being written, its reference is not there to be seen.
            session.refresh(notice, with_for_update={"of": Notice})
            sid = request.form.get("MessageSid") or request.form.get("CallSid")
            # Signed, but about another one: the notice was sent again, and this is the first one's report.
            if sid is not None and notice.provider_ref in (None, sid):
                _record_status(session, notice, sid, clock)
        return Response(status=204)

    @callbacks.post("/keys")
    def keys() -> Response:
        """A key was pressed during a call: 1 accepts. Answers with what to say."""
        spoken = VoiceResponse()
        with database.write() as session:
            notice = _notice(session)
            outcomes.record_delivered(session, notice, clock.now(session))
            language = notice.person.language
            incident = notice.incident
            if incident is None or request.form.get("Digits") != "1":
                spoken.hangup()
                return Response(str(spoken), mimetype="text/xml")
            answer_id = f"call:{request.form.get('CallSid')}"
        word = _accept(database, clock, incident.code, notice.person_id, "voice", answer_id)
        # Digits one by one, so that the code is spelt out and not read as a word.
        spoken.say(_WORDS[language][word].format(code=" ".join(incident.code)), language=_SAY[language])
        return Response(str(spoken), mimetype="text/xml")

    @callbacks.post("/reply")
    def reply() -> Response:
        """A text came back (where two-way texts work): an incident's code accepts it."""
        answer = MessagingResponse()
        with database.read() as session:
            person = _sender(session)
            if person is None:
                return Response(str(answer), mimetype="text/xml")
            code = _code_in(session, request.form.get("Body", ""))
        word = "unclear"
        if code is not None:
            answer_id = f"text:{request.form.get('MessageSid')}"
            word = _accept(database, clock, code, person.id, "sms", answer_id)
        answer.message(_WORDS[person.language][word].format(code=code))
        return Response(str(answer), mimetype="text/xml")

    return callbacks


def _notice(session: Session) -> Notice:
    notice = session.get(Notice, request.args.get("notice", ""))
    if notice is None or notice.channel not in ("sms", "voice"):
        abort(404)
    return notice


def _record_status(session: Session, notice: Notice, sid: str, clock: Clock) -> None:
    now = clock.now(session)
    state = request.form.get("MessageStatus") or request.form.get("CallStatus") or ""
    # One text may carry several notices: they share its SID.
    beside = session.scalars(select(Notice).where(Notice.provider_ref == sid, Notice.id != notice.id)).all()
    for one in (notice, *beside):
        if state in _ARRIVED:
            outcomes.record_delivered(session, one, now)
        elif state in _LOST:
            reason = f"Twilio reports {state}, error {request.form.get('ErrorCode', 'none')}"
            outcomes.record_undelivered(session, one, reason, now)


def _sender(session: Session) -> Person | None:
    rows = session.scalars(select(Person).where(Person.phone == request.form.get("From", ""), Person.active)).all()
    return rows[0] if len(rows) == 1 else None


def _code_in(session: Session, body: str) -> str | None:
    """The one open incident whose code stands in a text; None when there is none, or more than one."""
    text = plain(body[:500]).upper()
    # A code may also be all there is, with spaces or dashes between its signs.
    words = {*re.findall(r"[A-Z0-9]{4,8}", text), "".join(re.findall(r"[A-Z0-9]", text))}
    open_states = [state.value for state in sorted(OPEN_STATES)]
    codes = session.scalars(select(Incident.code).where(Incident.code.in_(words), Incident.state.in_(open_states)))
    found = codes.all()
    return found[0] if len(found) == 1 else None


def _accept(database: Database, clock: Clock, code: str, person_id: int, by: str, answer_id: str) -> str:
    """Accept for somebody; returns which words answer it."""
    try:
        with database.write() as session:
            actor = actors.person(session.get_one(Person, person_id))
            now = clock.now(session)
            incidents.apply(session, code, Event.ACCEPT, actor=actor, now=now, data={"by": by}, answer_id=answer_id)
    except AlreadyAnswered as error:
        return "yours" if error.themselves else "taken"
    except DomainError as error:
        log.warning("person %d could not accept %s by %s: %s", person_id, code, by, error)
        return "refused"
    return "accepted"
