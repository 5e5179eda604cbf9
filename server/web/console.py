# SPDX-License-Identifier: AGPL-3.0-or-later
"""The console of supervisors: the live list, the map, and one incident in full. Works as plain pages too."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from sqlalchemy.orm import Session

from server.domain.errors import Missing
from server.domain.lifecycle import TRANSITIONS, Event
from server.queries import detail as details
from server.queries import incidents, preflight, region
from server.queries.appeals import appeals, excuses
from server.queries.detail import Detail
from server.queries.region import Grid
from server.services.actors import BY_ROLE
from server.web import login
from server.web.context import viewer, web
from server.web.phone import submit_form
from server.web.pictureframe import closeup
from server.web.vendor import TARGET

blueprint = Blueprint("console", __name__)

# In the order of the buttons; undo has its own place.
_STEPS = (
    Event.VERIFY,
    Event.CLOSE,
    Event.REVIEW_REAL,
    Event.REJECT,
    Event.TRANSFER,
    Event.MARK_FALSE,
    Event.EXCUSE,
    Event.REOPEN,
)
_SHOWS = ("live", "open", "ended")


@blueprint.before_request
def _guard() -> Response | None:
    refused = login.require_login()
    if refused is None and not viewer().oversees:
        return redirect("/w")  # type: ignore[return-value]
    return refused


@blueprint.get("/console")
@blueprint.get("/console/<code>")
def page(code: str | None = None) -> str:
    """The whole console."""
    with web().database.read() as session:
        now = web().now(session)
        found = _detail(session, code, now) if code else None
        return render_template(
            "console/index.html",
            **_listing(session, now),
            **(_actions(session, found) if found else {}),
            found=found,
            now=now,
            has_map=(TARGET / "leaflet.js").is_file(),
            zone=web().settings.zone.key,
            cameras=region.cameras(session, viewer()),
            closeup=closeup,
            mint=lambda: str(uuid.uuid4()),
        )


@blueprint.get("/console/part/list")
def list_part() -> str:
    """The list alone, for the page's script."""
    with web().database.read() as session:
        now = web().now(session)
        return render_template(
            "console/_list.html",
            **_listing(session, now),
            now=now,
            cameras=region.cameras(session, viewer()),
            closeup=closeup,
        )


@blueprint.get("/console/part/incident/<code>")
def detail_part(code: str) -> str:
    """One incident alone, for the page's script."""
    with web().database.read() as session:
        now = web().now(session)
        found = _detail(session, code, now)
        return render_template(
            "console/_detail.html",
            **_actions(session, found),
            found=found,
            now=now,
            closeup=closeup,
            mint=lambda: str(uuid.uuid4()),
        )


@blueprint.post("/console/<code>/answer")
@login.limit_person
def answer(code: str) -> Any:
    """A plain form's answer."""
    submit_form(code)
    return redirect(f"/console/{code}", code=303)


def _detail(session: Session, code: str, now: datetime) -> Detail:
    found = details.detail(session, viewer(), code, now)
    if found is None:
        raise Missing(f"there is no incident {code!r}")
    return found


def _listing(session: Session, now: datetime) -> dict[str, Any]:
    show = request.args.get("show", "live")
    show = show if show in _SHOWS else "live"
    found = incidents.listed(session, viewer(), now, show=show)
    return {"incidents": found, "show": show, "gaps": preflight.count(session, viewer(), now)}


def _actions(session: Session, found: Detail) -> dict[str, Any]:
    one = found.summary
    steps = [step for step in _STEPS if step in BY_ROLE[viewer().role] and (one.state, step) in TRANSITIONS]
    near: list[Grid] = []
    every: list[Grid] = []
    if Event.TRANSFER in steps:
        near, every = region.grids(session, one.county_code, one.lat, one.lon)
    return {
        "appeals": appeals(found.journal),
        "excuses": excuses(found.journal),
        "may_decide": Event.APPEAL in BY_ROLE[viewer().role],
        "steps": steps,
        "near": [grid for grid in near if grid.code != one.grid_code],
        "every": every,
    }
