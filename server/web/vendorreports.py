# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a provider of texts by template reports: Alibaba Cloud's SmsReport, pushed as a list in JSON.

The provider signs nothing, so the address itself is the secret: ``/callbacks/sms/<STRAW1530_SMS_REPORT_SECRET>``. A
report that comes twice, late or out of order changes nothing.
"""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, Flask, Response, abort, jsonify, request

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
                notice = session.get(Notice, str(report.get("out_id")))
                if notice is None or notice.channel != "sms":
                    continue
                if report.get("success") is True:
                    outcomes.record_delivered(session, notice, clock.now(session))
                else:
                    reason = f"the provider reports {str(report.get('err_code'))[:80]}"
                    outcomes.record_undelivered(session, notice, reason, clock.now(session))
        return jsonify(code=0, msg="ok")

    app.extensions["csrf"].exempt(reports)
    app.register_blueprint(reports)
