# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a provider of texts by template reports: Alibaba Cloud's SmsReport, pushed as a list in JSON.

The provider signs nothing, so the address itself is the secret: ``/callbacks/sms/<STRAW1530_SMS_REPORT_SECRET>``. A
report that comes twice, late or out of order changes nothing.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any

from flask import Blueprint, Flask, Response, abort, jsonify, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db import Clock, Database
from server.models import Notice
from server.services import outcomes


def init(app: Flask, secret: str, database: Database, clock: Clock) -> None:
    """Take in reports; after ``security.init``."""
    reports = Blueprint("vendor_reports", __name__)

    @reports.post("/callbacks/sms/<given>")
    def take(given: str) -> Response:
        """Each report's ``out_id`` is our notice; 404 for another secret. Answered as the provider wants it."""
        if not hmac.compare_digest(given.encode(), secret.encode()):
            abort(404)
        told: Any = request.get_json(silent=True)
        if not isinstance(told, list):
            abort(400)
        with database.write() as session:
            for report in sorted(
                (one for one in told if isinstance(one, dict)), key=lambda one: str(one.get("out_id"))
            ):
                notice = session.get(Notice, str(report.get("out_id")), with_for_update={"of": Notice})
                if notice is not None and notice.channel == "sms":
                    _record(session, notice, report, clock.now(session))
        return jsonify(code=0, msg="ok")

    app.extensions["csrf"].exempt(reports)
    app.register_blueprint(reports)


def _record(session: Session, notice: Notice, report: dict[str, Any], now: datetime) -> None:
    """What became of a text: of all the notices that it carried. A report of an earlier text of the same notice, which
    was sent again, changes nothing."""
    text = str(report.get("biz_id") or "") or None
    if text is not None and notice.provider_ref not in (None, text):
        return
    beside = select(Notice).where(Notice.provider_ref == text, Notice.id != notice.id).order_by(Notice.id)
    for one in (notice, *(session.scalars(beside) if text is not None else ())):
        if report.get("success") is True:
            outcomes.record_delivered(session, one, now)
        else:
            reason = f"the provider reports {str(report.get('err_code'))[:80]}"
            outcomes.record_undelivered(session, one, reason, now)
