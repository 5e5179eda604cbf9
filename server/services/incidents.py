# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one function that changes an incident: lock, look up, journal, re-arm. The caller commits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, lazyload, with_expression
from sqlalchemy.orm.attributes import set_committed_value

from server import wake
from server.domain.clocks import CLOCK_BACK, RECEIVED, last_move, standing
from server.domain.errors import AlreadyAnswered, Invalid, Missing, NotAllowedNow, TooLate
from server.domain.lifecycle import ANNOTATIONS, UNDOABLE, Event, State, after
from server.domain.policy import parse_policy
from server.models import Callout, Division, Incident, JournalEntry, Picture, Sighting
from server.models.incident import SEALED
from server.services import actors, deadlines, journal, opening
from server.services.actors import Actor
from server.services.chain import Head

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
EXCUSE_REASONS = ("permitted", "ritual", "chimney", "other")
_REASONS = {Event.MARK_FALSE: FALSE_REASONS, Event.REPORT_FALSE: FALSE_REASONS, Event.EXCUSE: EXCUSE_REASONS}
# What the record writes into a line by itself and nobody may claim.
_RESERVED = frozenset({SEALED, CLOCK_BACK, RECEIVED, "undoes", "reopens", "opened", "erased"})
# What a decision on an appeal says.
_DECIDING = frozenset({"answers", "upheld"})


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


_FIRST_PICTURE = (
    select(Sighting.picture_sha256)
    .where(Sighting.incident_id == Incident.id, Sighting.picture_sha256.is_not(None))
    .order_by(Sighting.received_at)
    .limit(1)
    .scalar_subquery()
)
_LOCKED = (
    select(Incident)
    .where(Incident.id.in_(bindparam("ids", expanding=True)))
    .order_by(Incident.opened_at, Incident.id)
    .with_for_update(of=Incident)
    .options(lazyload(Incident.policy))  # kilobytes of JSON with each
    .options(with_expression(Incident.first_picture, _FIRST_PICTURE))
    .execution_options(populate_existing=True)
)


def lock_all(session: Session, ids: Collection[int]) -> dict[int, Incident]:
    """Many incidents by id, each with its first picture, locked in the one order in which every writer takes them."""
    return {incident.id: incident for incident in session.scalars(_LOCKED, {"ids": list(ids)})}


def lock_heads(session: Session, ids: Collection[int]) -> dict[int, Head]:
    """As ``lock_all``, but only the ends of their journals: for lines that move no state."""
    rows = session.execute(
        select(Incident.id, Incident.state, Incident.last_seq, Incident.last_hash, Incident.last_at)
        .where(Incident.id.in_(ids))
        .order_by(Incident.opened_at, Incident.id)
        .with_for_update(of=Incident)
    )
    return {row.id: Head(*row) for row in rows}


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
    nothing. ``data`` goes to the journal (plain JSON; personal details are sealed, see ``journal.append``). REOPEN
    opens a new incident; its code is the entry's ``data["opened"]``. Raises a DomainError when a rule refuses; nothing
    is written then.
    """
    return apply_to(session, lock(session, code), event, actor=actor, now=now, data=data, answer_id=answer_id)


def apply_to(
    session: Session,
    incident: Incident,
    event: Event,
    *,
    actor: Actor,
    now: datetime,
    data: Mapping[str, Any] | None = None,
    answer_id: str | None = None,
) -> JournalEntry:
    """As ``apply``, to an incident whose lock the caller holds."""
    if answer_id is not None and (earlier := _answered(session, incident, answer_id)):
        return earlier
    actors.check(session, actor, incident, event)
    content = dict(data or {})
    _check_claims(event, content)
    if event is Event.UNDO:
        target, content["undoes"] = _undo(session, incident, actor, now)
    else:
        target = _target(session, incident, event, actor)
        _check_content(session, incident, event, content)
        if event is Event.APPEAL:
            _check_appeal(session, incident, actor, content)
        if event is Event.TRANSFER:
            _check_hand_over(session, incident, actor, content)
    if event is Event.REOPEN:
        content["opened"] = opening.open_again(session, incident, actor.label, now).code
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
    _tell_the_others(session, incident, entry)
    if event is Event.DISPATCH:
        _assign(incident, content)
    if event not in ANNOTATIONS and event is not Event.DISPATCH:  # no step of a ladder waits for these
        session.flush()
        deadlines.reconcile(session, incident, now)
    wake.request(session, *((wake.DISPATCHER,) if actor.person is not None else ()))
    return entry


def _answered(session: Session, incident: Incident, answer_id: str) -> JournalEntry | None:
    earlier = session.scalar(select(JournalEntry).where(JournalEntry.answer_id == answer_id))
    if earlier is not None and earlier.incident_id != incident.id:
        raise Invalid("this answer's id was used for another incident")
    return earlier


def machine_line(incident: Incident, event: Event, data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """A line of the dispatcher's (DISPATCH, or an annotation without personal details), as ``apply_to`` would write it,
    as a row of the journal to insert with many others; ``projection`` is the incident's to update with it. The caller
    holds its lock and writes all lines of the transaction so."""
    target = after(State(incident.state), event)
    head = Head(incident.id, incident.state, incident.last_seq, incident.last_hash, incident.last_at)
    row = head.add(event.value, "system:dispatch", now, data, target.value)
    moved = {"state": head.state, "last_seq": head.seq, "last_hash": head.hash, "last_at": head.at}
    if event is Event.DISPATCH:
        moved["grid_code"] = data.get("grid") or incident.grid_code
        moved["county_code"] = data.get("county") or incident.county_code
    for name, value in moved.items():
        set_committed_value(incident, name, value)
    return row


def projection(incident: Incident) -> dict[str, Any]:
    """What ``machine_line`` moves, as a row to update."""
    return {"id": incident.id} | {name: getattr(incident, name) for name in _PROJECTED}


_ANSWERABLE = ("village", "grid")
_PROJECTED = ("state", "last_seq", "last_hash", "last_at", "grid_code", "county_code")
_ANSWERED = frozenset({State.ACCEPTED, State.ON_SITE, State.IN_HAND, State.REPORTED, State.VERIFIED, State.CLOSED})


def _target(session: Session, incident: Incident, event: Event, actor: Actor) -> State:
    try:
        return after(State(incident.state), event)
    except NotAllowedNow:
        if event is not Event.ACCEPT or incident.state not in _ANSWERED:
            raise
    accepted = [line for line in standing(journal.read(session, incident.id)) if line.event is Event.ACCEPT]
    themselves = bool(accepted) and accepted[-1].actor == actor.label
    raise AlreadyAnswered(f"incident {incident.code} was already accepted", themselves=themselves)


def _check_claims(event: Event, data: Mapping[str, Any]) -> None:
    if claimed := sorted(_RESERVED & data.keys()):
        raise Invalid(f"{', '.join(claimed)}: the record writes this by itself")
    if event is not Event.APPEAL and (said := sorted(_DECIDING & data.keys())):
        raise Invalid(f"{', '.join(said)}: belongs to an appeal")


def _check_content(session: Session, incident: Incident, event: Event, data: dict[str, Any]) -> None:
    if event in _REASONS and data.get("reason") not in _REASONS[event]:
        raise Invalid(f"{event.value} takes a reason, one of {', '.join(_REASONS[event])}")
    if event is Event.REPORT_DONE:
        digests = set(data.get("pictures") or ())
        stored = session.scalars(
            select(Picture.sha256).where(Picture.incident_id == incident.id, Picture.kind == "disposal")
        )
        if not digests or not digests <= set(stored):
            raise Invalid("a photograph of the extinguished fire is needed")


def _check_appeal(session: Session, incident: Incident, actor: Actor, data: Mapping[str, Any]) -> None:
    """A worker's appeal says why (``note``); a supervisor's decides one: ``answers`` its line and ``upheld`` or not. An
    upheld appeal excuses; it changes no time and no verdict."""
    if actor.person is not None and actor.person.role == "worker":
        if "upheld" in data or not data.get("note"):
            raise Invalid("an appeal takes a note that says why")
        return
    lines = [line for line in journal.read(session, incident.id) if line.event is Event.APPEAL]
    decided = {line.data["answers"] for line in lines if "upheld" in line.data}
    appeals = {line.seq for line in lines if "upheld" not in line.data}
    if data.get("answers") not in appeals or not isinstance(data.get("upheld"), bool):
        raise Invalid("a decision names the line of the appeal (answers) and whether it is upheld")
    if data["answers"] in decided:
        raise Invalid("this appeal was already decided")


def _check_hand_over(session: Session, incident: Incident, actor: Actor, data: Mapping[str, Any]) -> None:
    """To whoever answers for a place (``to``), and a worker's no further than the county, unless the place of the smoke
    made the grid beyond its border possible."""
    to = session.get(Division, str(data.get("to")))
    if to is None or to.level not in _ANSWERABLE:
        raise Invalid("a hand-over names the village or grid that it goes to")
    if actor.person is None or actor.person.role != "worker":
        return
    county = session.get_one(Division, incident.county_code)
    lines = [line for line in journal.read(session, incident.id) if line.event is Event.DISPATCH]
    possible = {one["grid"] for line in lines for one in line.data.get("candidates") or ()}
    if not to.prefix.startswith(county.prefix) and to.code not in possible:
        raise Invalid("that village lies in another county: ask the county's duty to hand over to it")


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


def _tell_the_others(session: Session, incident: Incident, entry: JournalEntry) -> None:
    """Whoever was told of it is told that somebody accepted, or took that back."""
    if entry.event == Event.UNDO:
        undone = select(JournalEntry.event).where(
            JournalEntry.incident_id == incident.id, JournalEntry.seq == entry.data["undoes"]
        )
        kind = "released" if session.scalar(undone) == Event.ACCEPT else None
    else:
        kind = "taken" if entry.event == Event.ACCEPT else None
    if kind is not None:
        cause = f"{kind}:{entry.seq}"
        session.add(Callout(incident_id=incident.id, rung="owner", cause=cause, kind=kind, created_at=entry.at))


def _assign(incident: Incident, data: Mapping[str, Any]) -> None:
    """The dispatcher placed the incident: its ``grid`` (a division's code, None for not placed) and that grid's
    ``county``, which may be the neighbour's of the camera's."""
    incident.grid_code = data.get("grid") or incident.grid_code
    incident.county_code = data.get("county") or incident.county_code


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
