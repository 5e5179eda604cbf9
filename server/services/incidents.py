# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one function that changes an incident: lock, look up, journal, re-arm. The caller commits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server import wake
from server.domain.clocks import last_move
from server.domain.errors import AlreadyAnswered, Invalid, Missing, NotAllowedNow, TooLate
from server.domain.lifecycle import ANNOTATIONS, UNDOABLE, Event, State, after
from server.domain.policy import parse_policy
from server.models import Callout, Division, Incident, JournalEntry, Picture
from server.services import actors, deadlines, journal
from server.services.actors import Actor

FALSE_REASONS = (
    "fog",
    "cloud",
    "chimney",
    "dust",
    "glare",
    "cooking",
    "ritual",
    "steam",
    "other",
)
_NEEDS_REASON = {Event.MARK_FALSE, Event.REPORT_FALSE}


def lock(session: Session, code: str) -> Incident:
    """The incident with this short code, locked until the transaction ends. Raises Missing."""
    found = session.scalar(
        select(Incident)
        .where(Incident.code == code.upper())
        .with_for_update(of=Incident)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise Missing(f"there is no incident {code!r}")
    return found


def apply(
    session: Session,
    code: str,
    event: Event,
    *,
    actor: Actor,
    now: datetime,
    data: Mapping[str, Any] | None = None,
    answer_id: str | None = None,
) -> JournalEntry:
    """Apply one event to the incident with this short code.

    ``answer_id`` is minted once where the answer was given: the same id again returns the first entry and changes
    nothing. ``data`` goes to the journal as it is (plain JSON). Raises a DomainError when a rule refuses; nothing is
    written then.
    """
    incident = lock(session, code)
    if answer_id is not None and (earlier := _answered(session, incident, answer_id)):
        return earlier
    actors.check(session, actor, incident, event)
    content = dict(data or {})
    if event is Event.UNDO:
        target, content["undoes"] = _undo(session, incident, actor, now)
    else:
        target = _target(incident, event)
        _check_content(session, incident, event, content)
    entry = journal.append(
        session,
        incident,
        event,
        target,
        actor=actor.label,
        now=now,
        data=content,
        answer_id=answer_id,
    )
    if event is Event.TRANSFER:
        _hand_over(session, incident, entry)
    if event is Event.DISPATCH:
        _assign(session, incident, content)
    if event not in ANNOTATIONS:
        session.flush()
        deadlines.reconcile(session, incident, now)
    wake.request(session)
    return entry


def _answered(session: Session, incident: Incident, answer_id: str) -> JournalEntry | None:
    earlier = session.scalar(select(JournalEntry).where(JournalEntry.answer_id == answer_id))
    if earlier is not None and earlier.incident_id != incident.id:
        raise Invalid("this answer's id was used for another incident")
    return earlier


def _target(incident: Incident, event: Event) -> State:
    try:
        return after(State(incident.state), event)
    except NotAllowedNow:
        if event is Event.ACCEPT and incident.state in (State.ACCEPTED, State.ON_SITE, State.IN_HAND):
            raise AlreadyAnswered(f"incident {incident.code} was already accepted") from None
        raise


def _check_content(session: Session, incident: Incident, event: Event, data: dict[str, Any]) -> None:
    if event in _NEEDS_REASON and data.get("reason") not in FALSE_REASONS:
        raise Invalid(f"{event.value} takes a reason, one of {', '.join(FALSE_REASONS)}")
    if event is Event.TRANSFER and session.get(Division, str(data.get("to"))) is None:
        raise Invalid(f"there is no division {data.get('to')!r} to hand over to")
    if event is Event.REPORT_DONE:
        digests = set(data.get("pictures") or ())
        stored = session.scalars(
            select(Picture.sha256).where(Picture.incident_id == incident.id, Picture.kind == "disposal")
        )
        if not digests or not digests <= set(stored):
            raise Invalid("a photograph of the extinguished fire is needed")


def _undo(session: Session, incident: Incident, actor: Actor, now: datetime) -> tuple[State, int]:
    """The state before the actor's own last tap, and that tap's seq. Raises TooLate or Invalid."""
    last = last_move(journal.read(session, incident.id))
    if last is None or last.event not in UNDOABLE or last.actor != actor.label:
        raise Invalid("there is nothing of yours to undo")
    limit = timedelta(seconds=parse_policy(incident.policy.body).undo_s)
    if now - last.at > limit:
        raise TooLate(f"undo is possible for {limit.total_seconds():.0f} seconds")
    assert last.from_state is not None
    return last.from_state, last.seq


def _assign(session: Session, incident: Incident, data: Mapping[str, Any]) -> None:
    """The dispatcher placed the incident: its grid (``grid``, a division's code or None for not placed) and the grid's
    county, which may be the neighbour's of the camera's."""
    if data.get("grid") is None:
        return
    grid = session.get_one(Division, data["grid"])
    incident.grid_code = grid.code
    above: Division | None = grid
    while above is not None and above.level != "county":
        above = session.get(Division, above.parent_code) if above.parent_code else None
    if above is not None:
        incident.county_code = above.code


def _hand_over(session: Session, incident: Incident, entry: JournalEntry) -> None:
    """The new grid's owner is called; the time before stays with the old one in the journal."""
    division = session.get_one(Division, str(entry.data["to"]))
    incident.grid_code = division.code
    session.add(
        Callout(
            incident_id=incident.id,
            rung="owner",
            cause=f"transfer:{entry.seq}",
            kind="dispatch",
            created_at=entry.at,
        )
    )
