# SPDX-License-Identifier: AGPL-3.0-or-later
"""What became of notices: sent, tried again, failed, delivered or not needed any more; and who is called next when
nobody was reached. Each outcome is recorded once, whatever is reported again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from server import wake
from server.domain.clocks import RECEIVED
from server.domain.lifecycle import Event
from server.domain.policy import RUNGS
from server.models import Callout, Incident, Notice
from server.models.notice import INFORMING
from server.services import bulk, chain, incidents
from server.services.actors import system

MAX_ATTEMPTS = 8
_DISPATCHER = system("dispatch")


def record_sent(
    session: Session, refs: Mapping[str, str | None], now: datetime, at: Mapping[str, datetime] | None = None
) -> None:
    """A channel took these notices (by id, each with the provider's reference), now or at the given times: T3 for an
    incident's first. Again for a notice already sent changes nothing."""
    at = at or {}
    # Notices before incidents and each in one order, as every other writer takes them.
    pending = session.execute(
        select(
            Notice.id, Notice.incident_id, Notice.channel, Notice.person_id, Callout.rung, Callout.cause, Callout.kind
        )
        .outerjoin(Callout, Callout.id == Notice.callout_id)
        .where(Notice.id.in_(refs), Notice.state == "pending")
        .order_by(Notice.id)
        .with_for_update(of=Notice)
    ).all()
    told = [row for row in pending if row.incident_id is not None and row.kind not in INFORMING]
    heads = incidents.lock_heads(session, {row.incident_id for row in told})
    lines = []
    for row in told:
        about = {
            "notice": row.id,
            "channel": row.channel,
            "person": row.person_id,
            "rung": row.rung,
            "cause": row.cause,
        }
        head, left = heads[row.incident_id], at.get(row.id, now)
        if head.at is not None and left < head.at <= now:
            # Other lines were written before we could tell, however long that took: nobody's clock was set back.
            about[RECEIVED], left = left.isoformat(), head.at
        lines.append(head.add(Event.SENT.value, _DISPATCHER.label, left, about))
    sent = [
        {"id": row.id, "state": "sent", "sent_at": at.get(row.id, now), "provider_ref": refs[row.id]} for row in pending
    ]
    writes = bulk.Writes(session)
    chain.write(writes, lines, heads.values())
    writes.update(Notice, sent)
    writes.run()
    session.expire_all()  # the statements above went past what the session has loaded
    wake.request(session)


def share_delivery(session: Session, ids: Collection[str], now: datetime) -> None:
    """Notices that went in one text arrive together: a report may have come for the first before it was known that the
    others went with it."""
    rows = session.scalars(select(Notice).where(Notice.id.in_(ids)).order_by(Notice.id)).all()
    if any(row.delivered_at is not None for row in rows):
        for row in rows:
            record_delivered(session, row, now)


def record_retry(session: Session, notice_id: str, reason: str, now: datetime, wait: timedelta) -> None:
    """The channel failed for now. After MAX_ATTEMPTS it counts as failed for good."""
    notice = _pending(session, notice_id)
    if notice is None:
        return
    if notice.attempts >= MAX_ATTEMPTS:
        record_failed(session, notice_id, f"gave up after {notice.attempts} attempts: {reason}", now)
        return
    notice.next_at, notice.error = now + wait, reason
    wake.request(session, wake.DISPATCHER)


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
    wake.request(session, wake.DISPATCHER)


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
    if notice.callout is not None and notice.callout.kind not in INFORMING:
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
    """Call out the rung above a call-out's, once; above the city and beside the ladder there is nobody."""
    rungs = list(RUNGS)
    above = rungs[rungs.index(callout.rung) + 1 :][:1] if callout.rung in RUNGS else []
    cause = f"unreached:{callout.id}"
    known = select(Callout.id).where(Callout.incident_id == callout.incident_id, Callout.cause == cause)
    if above and session.scalar(known) is None:
        session.add(
            Callout(incident_id=callout.incident_id, rung=above[0], cause=cause, kind=callout.kind, created_at=now)
        )
        session.flush()
        wake.request(session, wake.DISPATCHER)


def _beside(notice: Notice) -> ColumnElement[bool]:
    """The other notices to the same person for the same occasion."""
    occasion = ("callout_id", "drill_id", "fault_id")
    same = [getattr(Notice, name) == getattr(notice, name) for name in occasion if getattr(notice, name) is not None]
    return and_(*same, Notice.person_id == notice.person_id, Notice.id != notice.id)


def arrived_beside(session: Session, notice: Notice) -> str | None:
    """The channel by which the same word reached the same person, or None."""
    return session.scalar(select(Notice.channel).where(_beside(notice), Notice.delivered_at.is_not(None)).limit(1))


def record_delivered(session: Session, notice: Notice, now: datetime) -> bool:
    """A delivery receipt: T3d for the incident's first. False when it was known already."""
    session.refresh(notice, with_for_update={"of": Notice})
    if notice.delivered_at is not None:
        return False
    overtakes = notice.sent_at is None  # a receipt may come before our own record of the sending
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
    if notice.callout is None or notice.callout.kind in INFORMING:
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
