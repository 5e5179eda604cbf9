# SPDX-License-Identifier: AGPL-3.0-or-later
"""When the cameras were looking: a day of each, drawn, with what made it blind; on the console and in the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, render_template, request

from server.domain.errors import Invalid, NotPermitted
from server.queries.coverage import Coverage, coverage
from server.web import login, words
from server.web.context import viewer, web

blueprint = Blueprint("coverage", __name__)
_FIRST = date(2020, 1, 1)
WIDTH = 1440
"""Units of the picture: a minute each."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch as it is drawn: minutes from midnight, and what it was."""

    x: float
    width: float
    state: str
    from_at: datetime
    to_at: datetime


@blueprint.before_request
def _guard() -> Response | None:
    refused = login.require_login()
    if refused is None and not viewer().oversees:
        if request.path.startswith("/api/"):
            raise NotPermitted("coverage is shown to overseers")
        return redirect("/w")  # type: ignore[return-value]
    return refused


@blueprint.get("/console/coverage")
def page() -> str:
    """A day of the viewer's area."""
    with web().database.read() as session:
        now = web().now(session)
        day, since, until = _period(now)
        found = coverage(session, since, until, viewer().area_prefix)
    return render_template(
        "console/coverage.html",
        now=now,
        day=day,
        today=now.astimezone(web().settings.zone).date(),
        step=timedelta(days=1),
        views=[(each, _bars(each, since)) for each in found],
        states=sorted({stretch.state for each in found for stretch in each.stretches} | {"ok"}, key=_rank),
        width=WIDTH,
    )


@blueprint.get("/api/v1/coverage")
def day() -> Response:
    """The same as data."""
    with web().database.read() as session:
        now = web().now(session)
        _, since, until = _period(now)
        found = coverage(session, since, until, viewer().area_prefix)
    views = [_payload(each) for each in found]
    return jsonify(now=now.isoformat(), since=since.isoformat(), until=until.isoformat(), views=views)


def _period(now: datetime) -> tuple[date, datetime, datetime]:
    """The day asked for (today when none), from its midnight to the next or to now. Raises Invalid."""
    zone, given = web().settings.zone, request.args.get("day")
    today = now.astimezone(zone).date()
    try:
        wanted = date.fromisoformat(given) if given else today
    except ValueError:
        raise Invalid(f"day: a date like 2026-10-08, not {str(given)[:40]!r}") from None
    if not _FIRST <= wanted <= today:
        raise Invalid(f"day: a date from {_FIRST} to {today}, not {wanted}")
    since = datetime.combine(wanted, time(), zone)
    until = datetime.combine(wanted + timedelta(days=1), time(), zone)
    return wanted, since, max(since, min(until, now))


def _bars(one: Coverage, since: datetime) -> list[Bar]:
    """A short blindness is drawn a minute wide, so that it can be seen."""
    found = []
    for each in one.stretches:
        x = (each.from_at - since).total_seconds() / 60
        least = 0.0 if each.state == "ok" else 1.0
        found.append(Bar(round(x, 2), round(max(least, each.seconds / 60), 2), each.state, each.from_at, each.to_at))
    return sorted(found, key=lambda bar: bar.state != "ok")


def _rank(state: str) -> int:
    known = list(words.CAMERA_STATES)
    return known.index(state) if state in known else len(known)


def _payload(one: Coverage) -> dict[str, Any]:
    return {
        "camera": one.camera,
        "preset": one.preset,
        "looked_s": one.looked_s,
        "looks": one.looks,
        "blind_s": one.blind_s,
        "unreported_s": one.unreported_s,
        "minute_s": one.minute_s,
        "share": round(one.share, 4),
        "minute_share": round(one.minute_share, 4),
        "stretches": [
            {"state": each.state, "from": each.from_at.isoformat(), "to": each.to_at.isoformat()}
            for each in one.stretches
        ],
    }
