# SPDX-License-Identifier: AGPL-3.0-or-later
"""Call-outs and notices as a queue: written with their cause, claimed with a lease, sent outside transactions,
their outcome recorded. Delivery is at least once; the notice's id is the idempotency key."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server import wake
from server.domain.lifecycle import Event
from server.models import Callout, Incident, Notice, Person
from server.services import incidents
from server.services.actors import system

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 8
_DISPATCHER = system("dispatch")


@dataclass(frozen=True, slots=True)
class Draft:
    """A notice to be written: who, through which channel, saying what."""

    person: Person
    channel: str
    payload: dict[str, Any]


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
) -> list[Notice]:
    """Write the notices of a call-out and mark it done; the caller commits. With no draft at all the journal says
    that nobody could be reached, and the ``reason``, so that the ladder's next rung and the console know."""
    written = []
    for draft in drafts:
        notice = Notice(
            id=str(uuid.uuid4()),
            callout_id=callout.id,
            incident_id=callout.incident_id,
            person_id=draft.person.id,
            channel=draft.channel,
            payload=draft.payload,
            next_at=now,
            created_at=now,
        )
        notice.payload = {**draft.payload, "id": notice.id}
        session.add(notice)
        written.append(notice)
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
    session.flush()
    wake.request(session)
    return written


def claim(session: Session, channel: str, now: datetime, limit: int = 100) -> list[Notice]:
    """Take notices of a channel that are due and hold them for LEASE; the caller commits before it sends."""
    rows = session.scalars(
        select(Notice)
        .where(Notice.state == "pending", Notice.channel == channel, Notice.next_at <= now)
        .order_by(Notice.next_at, Notice.created_at)
        .limit(limit)
        .with_for_update(of=Notice, skip_locked=True)
    ).all()
    for row in rows:
        row.next_at = now + LEASE
        row.attempts += 1
    return list(rows)


def next_attempt(session: Session, channels: Iterable[str]) -> datetime | None:
    """When the next pending notice of these channels may be tried; None when none is pending."""
    waiting = select(func.min(Notice.next_at)).where(Notice.state == "pending", Notice.channel.in_(list(channels)))
    return session.scalar(waiting)


def record_sent(session: Session, notice_id: str, provider_ref: str | None, now: datetime) -> None:
    """The channel took it: T3 for the incident's first. Again for a notice already sent changes nothing."""
    notice = _pending(session, notice_id)
    if notice is None:
        return
    notice.state, notice.sent_at, notice.provider_ref = "sent", now, provider_ref
    _journal(session, notice, Event.SENT, now, {})


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
    notice.state, notice.failed_at, notice.error = "failed", now, reason
    _journal(session, notice, Event.UNREACHED, now, {"reason": reason})


def record_undelivered(session: Session, notice: Notice, reason: str, now: datetime) -> bool:
    """The channel took it and then could not deliver it. False when that, or a delivery, was known already."""
    session.refresh(notice, with_for_update={"of": Notice})
    if notice.state not in ("pending", "sent"):
        return False
    notice.state, notice.failed_at, notice.error = "failed", now, reason
    _journal(session, notice, Event.UNREACHED, now, {"reason": reason})
    return True


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
    code = session.scalar(select(Incident.code).where(Incident.id == notice.incident_id))
    assert code is not None
    about = {
        "notice": notice.id,
        "channel": notice.channel,
        "person": notice.person_id,
        "rung": notice.callout.rung,
        "cause": notice.callout.cause,
    }
    incidents.apply(session, code, event, actor=_DISPATCHER, now=now, data=about | data)
