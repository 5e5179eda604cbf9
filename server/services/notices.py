# SPDX-License-Identifier: AGPL-3.0-or-later
"""Call-outs and notices as a queue: written with their cause, claimed with a lease, sent outside transactions,
their outcome recorded. Delivery is at least once; the notice's id is the idempotency key."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from server import wake
from server.domain.lifecycle import Event
from server.domain.policy import RUNGS
from server.models import Callout, Drill, Incident, Notice, Person
from server.services import incidents
from server.services.actors import system

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 8
_DISPATCHER = system("dispatch")


@dataclass(frozen=True, slots=True)
class Draft:
    """A notice to be written: who, through which channel, saying what, and how long after (a second channel waits to
    see whether the first arrives)."""

    person: Person
    channel: str
    payload: dict[str, Any]
    wait: timedelta = timedelta()


def waiting_callouts(session: Session, limit: int = 50) -> Sequence[Callout]:
    """Call-outs nobody has expanded yet, oldest first, locked (others skip them) until the transaction ends."""
    return session.scalars(
        select(Callout)
        .where(Callout.expanded_at.is_(None))
        .order_by(Callout.created_at, Callout.id)
        .limit(limit)
        .with_for_update(of=Callout, skip_locked=True)
    ).all()


def drop(session: Session, callout: Callout, now: datetime) -> None:
    """Mark a call-out done without telling anybody: the incident is over, or everybody was told for the same cause."""
    callout.expanded_at = now


def expand(
    session: Session,
    callout: Callout,
    drafts: Iterable[Draft],
    now: datetime,
    *,
    reason: str = "nobody holds this post",
    claimed: Collection[str] = (),
) -> list[Notice]:
    """Write the notices of a call-out and mark it done; the caller commits. With no draft at all the journal says
    that nobody could be reached, and the ``reason``, so that the ladder's next rung and the console know.

    Those of the channels in ``claimed`` that need not wait are claimed from the beginning: the caller sends them.
    """
    written = [_write(session, draft, now, callout=callout) for draft in drafts]
    for notice in written:
        if notice.channel in claimed and notice.next_at <= now:
            notice.next_at, notice.attempts = now + LEASE, 1
    callout.expanded_at = now
    if not written:
        incidents.apply(
            session,
            callout.incident.code,
            Event.UNREACHED,
            actor=_DISPATCHER,
            now=now,
            data={"rung": callout.rung, "cause": callout.cause, "reason": reason},
        )
    wake.request(session)
    return written


def begin_drill(session: Session, drafts: Iterable[Draft], note: str, now: datetime) -> Drill:
    """Write the notices of a drill; the caller commits. They go the way of all notices and touch no incident."""
    drill = Drill(started_at=now, note=note)
    session.add(drill)
    session.flush()
    for draft in drafts:
        _write(session, draft, now, drill=drill)
    session.flush()
    wake.request(session)
    return drill


def _write(
    session: Session, draft: Draft, now: datetime, *, callout: Callout | None = None, drill: Drill | None = None
) -> Notice:
    number = str(uuid.uuid4())
    notice = Notice(
        id=number,
        callout_id=callout.id if callout else None,
        incident_id=callout.incident_id if callout else None,
        drill_id=drill.id if drill else None,
        person=draft.person,
        person_id=draft.person.id,
        channel=draft.channel,
        payload=draft.payload | {"id": number},
        attempts=0,
        next_at=now + draft.wait,
        created_at=now,
    )
    session.add(notice)
    return notice


def claim(session: Session, channel: str, now: datetime, limit: int = 100) -> list[Notice]:
    """Take notices of a channel that are due and hold them for LEASE; the caller commits before it sends."""
    rows = session.scalars(
        select(Notice)
        .where(Notice.state == "pending", Notice.channel == channel, Notice.next_at <= now)
        .order_by(Notice.next_at, Notice.created_at, Notice.callout_id, Notice.id)
        .limit(limit)
        .with_for_update(of=Notice, skip_locked=True)
    ).all()
    for row in rows:
        row.next_at = now + LEASE
        row.attempts += 1
    return list(rows)


def waiting(session: Session, now: datetime, channels: Iterable[str]) -> tuple[bool, bool]:
    """Whether there is a call-out to expand, and whether a notice is due on one of these channels."""
    callout = exists().where(Callout.expanded_at.is_(None))
    notice = exists().where(Notice.state == "pending", Notice.channel.in_(list(channels)), Notice.next_at <= now)
    found = session.execute(select(callout, notice)).one()
    return bool(found[0]), bool(found[1])


def next_attempt(session: Session, channels: Iterable[str]) -> datetime | None:
    """When the next pending notice of these channels may be tried; None when none is pending."""
    waiting = select(func.min(Notice.next_at)).where(Notice.state == "pending", Notice.channel.in_(list(channels)))
    return session.scalar(waiting)


def record_sent(session: Session, refs: Mapping[str, str | None], now: datetime) -> None:
    """A channel took these notices (by id, each with the provider's reference): T3 for an incident's first. Again for a
    notice already sent changes nothing."""
    # Notices before incidents and each in one order, as every other writer takes them.
    rows = session.scalars(
        select(Notice)
        .where(Notice.id.in_(refs), Notice.state == "pending")
        .order_by(Notice.id)
        .with_for_update(of=Notice)
        .execution_options(populate_existing=True)
    ).all()
    callouts = {
        callout.id: callout
        for callout in session.scalars(select(Callout).where(Callout.id.in_({row.callout_id for row in rows})))
    }
    locked = incidents.lock_all(session, {row.incident_id for row in rows if row.incident_id is not None})
    for notice in rows:
        notice.state, notice.sent_at, notice.provider_ref = "sent", now, refs[notice.id]
        if notice.incident_id is not None and notice.callout_id is not None:
            about = _about(notice, callouts[notice.callout_id])
            incidents.apply_to(session, locked[notice.incident_id], Event.SENT, actor=_DISPATCHER, now=now, data=about)
    wake.request(session)


def record_retry(session: Session, notice_id: str, reason: str, now: datetime, wait: timedelta) -> None:
    """The channel failed for now. After MAX_ATTEMPTS it counts as failed for good."""
    notice = _pending(session, notice_id)
    if notice is None:
        return
    if notice.attempts >= MAX_ATTEMPTS:
        record_failed(session, notice_id, f"gave up after {notice.attempts} attempts: {reason}", now)
        return
    notice.next_at, notice.error = now + wait, reason
    wake.request(session)


def record_failed(session: Session, notice_id: str, reason: str, now: datetime) -> None:
    """The channel will never take it; the journal says so."""
    notice = _pending(session, notice_id)
    if notice is None:
        return
    _fail(session, notice, reason, now)


def skip(session: Session, notice: Notice, reason: str, now: datetime) -> None:
    """It is not needed any more: another channel arrived, somebody answered, the incident is over."""
    if notice.state == "pending":
        notice.state, notice.error, notice.next_at = "skipped", reason, now


def hasten(session: Session, notice: Notice, now: datetime) -> None:
    """The notices that wait to see whether this one arrives need not wait any longer."""
    session.execute(
        update(Notice)
        .where(_beside(notice), Notice.state == "pending", Notice.attempts == 0, Notice.next_at > now)
        .values(next_at=now)
        .execution_options(synchronize_session=False)
    )
    wake.request(session)


def record_undelivered(session: Session, notice: Notice, reason: str, now: datetime) -> bool:
    """The channel took it and then could not deliver it. False when that, or a delivery, was known already."""
    session.refresh(notice, with_for_update={"of": Notice})
    if notice.state not in ("pending", "sent"):
        return False
    _fail(session, notice, reason, now)
    return True


def _fail(session: Session, notice: Notice, reason: str, now: datetime) -> None:
    notice.state, notice.failed_at, notice.error = "failed", now, reason
    _journal(session, notice, Event.UNREACHED, now, {"reason": reason})
    session.flush()
    hasten(session, notice, now)
    if notice.callout is not None:
        _climb(session, notice.callout, now)


def _climb(session: Session, callout: Callout, now: datetime) -> None:
    """When nobody of a call-out can have been reached, the next rung is called at once, without waiting for the
    ladder."""
    if not any_reached(session, callout.incident_id, callout_id=callout.id):
        call_next(session, callout, now)


def any_reached(
    session: Session, incident_id: int, people: Collection[int] | None = None, *, callout_id: int | None = None
) -> bool:
    """Whether any of these people (or of this call-out's) was told of an incident, or may yet be.

    What the broker took proves nothing until a phone says so; what a provider took may still arrive.
    """
    possible = or_(
        Notice.delivered_at.is_not(None),
        Notice.state == "pending",
        and_(Notice.state == "sent", Notice.channel != "mqtt"),
    )
    found = select(Notice.id).where(Notice.incident_id == incident_id, possible).limit(1)
    if people is not None:
        found = found.where(Notice.person_id.in_(people))
    if callout_id is not None:
        found = found.where(Notice.callout_id == callout_id)
    return session.scalar(found) is not None


def call_next(session: Session, callout: Callout, now: datetime) -> None:
    """Call out the rung above a call-out's, once; above the city there is nobody."""
    rungs = list(RUNGS)
    above = rungs[rungs.index(callout.rung) + 1 :][:1]
    cause = f"unreached:{callout.id}"
    known = select(Callout.id).where(Callout.incident_id == callout.incident_id, Callout.cause == cause)
    if above and session.scalar(known) is None:
        session.add(
            Callout(incident_id=callout.incident_id, rung=above[0], cause=cause, kind=callout.kind, created_at=now)
        )
        session.flush()
        wake.request(session)


def _beside(notice: Notice) -> ColumnElement[bool]:
    """The other notices to the same person for the same occasion."""
    same = Notice.callout_id == notice.callout_id if notice.callout_id else Notice.drill_id == notice.drill_id
    return and_(same, Notice.person_id == notice.person_id, Notice.id != notice.id)


def arrived_beside(session: Session, notice: Notice) -> str | None:
    """The channel by which the same word reached the same person, or None."""
    return session.scalar(select(Notice.channel).where(_beside(notice), Notice.delivered_at.is_not(None)).limit(1))


def record_delivered(session: Session, notice: Notice, now: datetime) -> bool:
    """A delivery receipt: T3d for the incident's first. False when it was known already."""
    session.refresh(notice, with_for_update={"of": Notice})
    if notice.delivered_at is not None:
        return False
    overtakes = notice.state == "pending"  # a receipt may come before our own record of the sending
    notice.state, notice.delivered_at = "delivered", now
    notice.sent_at = notice.sent_at or now
    if overtakes:
        _journal(session, notice, Event.SENT, now, {})
    _journal(session, notice, Event.DELIVERED, now, {})
    return True


def _pending(session: Session, notice_id: str) -> Notice | None:
    notice = session.get(Notice, notice_id, with_for_update={"of": Notice}, populate_existing=True)
    return notice if notice is not None and notice.state == "pending" else None


def _journal(session: Session, notice: Notice, event: Event, now: datetime, data: dict[str, Any]) -> None:
    if notice.callout is None:
        wake.request(session)
        return  # a drill is in nobody's record
    code = session.scalar(select(Incident.code).where(Incident.id == notice.incident_id))
    assert code is not None
    about = _about(notice, notice.callout)
    incidents.apply(session, code, event, actor=_DISPATCHER, now=now, data=about | data)


def _about(notice: Notice, callout: Callout) -> dict[str, Any]:
    return {
        "notice": notice.id,
        "channel": notice.channel,
        "person": notice.person_id,
        "rung": callout.rung,
        "cause": callout.cause,
    }
