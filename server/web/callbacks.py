# SPDX-License-Identifier: AGPL-3.0-or-later
"""Status reports of SMS from Twilio, believed by their signature alone: they need no login and no CSRF token."""

from __future__ import annotations

import logging

from flask import Blueprint, Flask, Response, abort, request
from twilio.request_validator import RequestValidator

from server.db import Clock, Database
from server.models import Notice
from server.services import notices
from server.settings import StatusReports

log = logging.getLogger("callbacks")

_ARRIVED = frozenset({"delivered", "read"})
_LOST = frozenset({"undelivered", "failed", "canceled"})


def init(app: Flask, reports: StatusReports, database: Database, clock: Clock) -> None:
    """Take in status reports at ``/callbacks/twilio/status``; after ``security.init``."""
    callbacks = _blueprint(reports, database, clock)
    app.extensions["csrf"].exempt(callbacks)
    app.register_blueprint(callbacks)


def _blueprint(reports: StatusReports, database: Database, clock: Clock) -> Blueprint:
    """``POST /callbacks/twilio/status``. Answers 403 to a bad signature, 404 to a notice nobody sent, 204 otherwise; a
    report that comes twice, late or out of order changes nothing.

    The signature covers the address that Twilio was told, because behind a proxy the request's own address is another.
    """
    callbacks = Blueprint("callbacks", __name__, url_prefix="/callbacks")
    validator = RequestValidator(reports.token)

    @callbacks.post("/twilio/status")
    def status() -> Response:
        """One status report."""
        address = f"{reports.url}?{request.query_string.decode()}"
        if not validator.validate(address, request.form, request.headers.get("X-Twilio-Signature", "")):
            log.warning("a status report with a bad signature came from %s", request.remote_addr)
            abort(403)
        with database.write() as session:
            notice = session.get(Notice, request.args.get("notice", ""))
            if notice is None or notice.channel not in ("sms", "voice"):
                abort(404)
            sid = request.form.get("MessageSid")
            # Signed, but about another message: the notice was sent again, and this is the first one's report.
            if sid is None or notice.provider_ref not in (None, sid):
                return Response(status=204)
            now = clock.now(session)
            state = request.form.get("MessageStatus", "")
            if state in _ARRIVED:
                notices.record_delivered(session, notice, now)
            elif state in _LOST:
                reason = f"Twilio reports {state}, error {request.form.get('ErrorCode', 'unknown')}"
                notices.record_undelivered(session, notice, reason, now)
        return Response(status=204)

    return callbacks
