# SPDX-License-Identifier: AGPL-3.0-or-later
"""Push messages to browsers: asking for them, asking for no more, and the page's service worker."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, current_app

from server.domain.errors import Invalid, Missing
from server.models import Person
from server.services import push
from server.web import login
from server.web.context import json_object, viewer, web

blueprint = Blueprint("browsers", __name__)


@blueprint.get("/sw.js")
def worker() -> Response:
    """The service worker, from the root so that it may serve all pages; browsers fetch it without a session."""
    script = Path(current_app.static_folder or "") / "sw.js"
    response = Response(script.read_bytes(), mimetype="text/javascript")
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.post("/api/v1/push")
def subscribe() -> Response:
    """This browser asks for push messages: JSON as PushSubscription.toJSON gives it."""
    settings = web().settings.push
    if (refused := login.require_login()) is not None:
        return refused
    if settings is None:
        raise Missing("push messages are not set up here")
    fields = json_object()
    keys = fields.get("keys")
    if not isinstance(keys, dict):
        raise Invalid("keys: p256dh and auth are missing")
    given = fields.get("endpoint"), keys.get("p256dh"), keys.get("auth")
    endpoint, p256dh, auth = (str(value or "") for value in given)
    with web().database.write() as session:
        person = session.get_one(Person, viewer().id)
        now = web().now(session)
        push.subscribe(session, person, endpoint, p256dh, auth, origins=settings.origins, now=now)
    return Response(status=204)


@blueprint.delete("/api/v1/push")
def unsubscribe() -> Response:
    """This browser asks for no more: JSON {endpoint}."""
    if (refused := login.require_login()) is not None:
        return refused
    fields = json_object()
    with web().database.write() as session:
        push.unsubscribe(session, str(fields.get("endpoint") or ""), viewer().id)
    return Response(status=204)
