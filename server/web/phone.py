# SPDX-License-Identifier: AGPL-3.0-or-later
"""The worker's pages: what burns where, and one button for the next step. They work as plain forms too."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from server.domain.clocks import Verdict
from server.domain.errors import DomainError, Missing
from server.domain.lifecycle import TRANSITIONS, Event, State
from server.queries import detail as details
from server.queries import incidents, region
from server.queries.appeals import appeals
from server.queries.detail import Detail
from server.queries.region import Grid
from server.web import answers, login, sketch, words
from server.web.context import viewer, web
from server.web.errors import sentence
from server.web.pictureframe import closeup

blueprint = Blueprint("phone", __name__)
blueprint.before_request(login.require_login)

# The one big button of each state, and the smaller ones beside it.
MAIN_STEP = {
    State.DISPATCHED: Event.ACCEPT,
    State.ACCEPTED: Event.ARRIVE,
    State.ON_SITE: Event.REPORT_DONE,
    State.IN_HAND: Event.REPORT_DONE,
}
# From this probability on, a neighbouring grid has a button of its own to hand over to.
_LIKELY = 0.1
_SIDE_STEPS = (Event.SET_OFF, Event.START_DISPOSAL, Event.REPORT_FALSE, Event.TRANSFER)


@blueprint.get("/w")
def work() -> str:
    """My incidents, the overdue first."""
    with web().database.read() as session:
        now = web().now(session)
        found = incidents.listed(session, viewer(), now)
    return render_template("phone/list.html", incidents=found, now=now, closeup=closeup)


@blueprint.get("/w/<code>")
def incident(code: str) -> Any:
    """One incident."""
    if viewer().oversees:
        return redirect(f"/console/{code}")
    with web().database.read() as session:
        now = web().now(session)
        found = details.detail(session, viewer(), code, now)
        if found is None:
            raise Missing(f"there is no incident {code!r}")
        one = found.summary
        outline = region.outline_of(session, one.grid_code) if one.grid_code else None
        can_transfer = (one.state, Event.TRANSFER) in TRANSITIONS
        near, every = region.grids(session, one.county_code, one.lat, one.lon) if can_transfer else ([], [])
    return render_template(
        "phone/incident.html",
        found=found,
        one=one,
        now=now,
        near=[grid for grid in near if grid.code != one.grid_code],
        every=every,
        panels=panels(found),
        over_the_border=_over_the_border(found, every),
        may_appeal=_may_appeal(found),
        closeup=closeup,
        sketch=sketch.draw(outline, one.lat, one.lon, one.bearing, one.along_m, one.across_m),
        mint=lambda: str(uuid.uuid4()),
    )


@blueprint.post("/w/<code>/answer")
@login.limit_person
def answer(code: str) -> Any:
    """A plain form's answer: apply it and show the incident again."""
    submit_form(code)
    return redirect(f"/w/{code}", code=303)


def submit_form(code: str) -> None:
    """Apply a plain form's answer and leave a message for the next page."""
    photos = [file.read() for file in request.files.getlist("photo") if file.filename]
    try:
        with web().database.write() as session:
            given = answers.parse({**request.form, "incident": code})
            folder = web().settings.evidence_dir
            answers.submit(session, viewer(), given, photos, folder=folder, now=web().now(session))
    except Missing:
        raise
    except DomainError as error:
        flash(sentence(error), "error")
        return
    flash(_("已记录：%(event)s", event=words.EVENTS[given.event]), "done")


def _over_the_border(found: Detail, grids: Sequence[Grid]) -> Grid | None:
    """The likeliest other grid of the last dispatch, where that is likely at all: one tap hands the fire over to it."""
    sent = [line.data.get("candidates") or () for line in found.journal if line.event is Event.DISPATCH]
    likely = [one["grid"] for one in (sent[-1] if sent else ()) if one["probability"] >= _LIKELY]
    names = {grid.code: grid for grid in grids}
    return next((names[code] for code in likely if code in names and code != found.summary.grid_code), None)


def _may_appeal(found: Detail) -> bool:
    """Whether a limit was broken and the viewer has no appeal that waits for its decision."""
    mine = [one for one in appeals(found.journal) if one.line.person == viewer().name]
    broken = any(interval.verdict is Verdict.BROKEN and not interval.excused for interval in found.summary.clocks[1:])
    return broken and all(one.decision is not None for one in mine)


def panels(found: Detail) -> list[tuple[State, Event, list[Event]]]:
    """What can be done now and, should the signal be lost, next: (state, main step, other steps). Only the panel of
    the present state is shown; the page's script turns to the next when an answer waits for signal."""
    order = [State.DISPATCHED, State.ACCEPTED, State.ON_SITE, State.IN_HAND]
    if found.summary.state not in order:
        return []
    reachable = order[order.index(found.summary.state) :]
    return [
        (state, MAIN_STEP[state], [step for step in _SIDE_STEPS if (state, step) in TRANSITIONS]) for state in reachable
    ]
