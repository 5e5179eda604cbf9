# SPDX-License-Identifier: AGPL-3.0-or-later
"""Preflight on the console: the posts nobody holds or no channel reaches, by county and township."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template

from server.domain.errors import NotPermitted
from server.queries import preflight
from server.services import preflights
from server.web import login
from server.web.context import viewer, web

blueprint = Blueprint("readiness", __name__)
# Of a first look that the dispatcher has not made yet.


@blueprint.before_request
def _guard() -> Response | None:
    refused = login.require_login()
    if refused is None and not viewer().oversees:
        return redirect("/w")  # type: ignore[return-value]
    return refused


@blueprint.get("/console/preflight")
def page() -> str:
    """The last look, limited to the viewer's area."""
    with web().database.read() as session:
        now = web().now(session)
        found = preflight.report(session, viewer())
        return render_template("console/preflight.html", report=found, now=now, stale=preflight.STALE)


@blueprint.post("/console/preflight")
def again() -> Response:
    """Look again now."""
    if viewer().role == "department":
        raise NotPermitted("departments look and change nothing")
    settings = web().settings
    with web().database.write() as session:
        channels = preflight.known_channels(session)
        now = web().now(session)
        found = preflight.look(session, now, channels, zone=settings.zone, country=settings.country)
        preflights.keep(session, now, channels, found)
    return redirect("/console/preflight", code=303)  # type: ignore[return-value]
