# SPDX-License-Identifier: AGPL-3.0-or-later
"""Call-outs and notices as a queue: written with their cause, claimed with a lease, sent outside transactions, their
outcome recorded (``server.services.outcomes``). Delivery is at least once; the notice's id is the idempotency key."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from server import wake
from server.models import Callout, Drill, HealthFault, Notice, Person
from server.services import bulk

LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Draft:
    """A notice to be written: who, through which channel, saying what, and how long after (a second channel waits to
    see whether the first arrives)."""

    person: Person
    channel: str
    payload: dict[str, Any]
    wait: timedelta = timedelta()


@dataclass(slots=True)
class NewNotice:
    """A notice to be written, as its row will be: an object of the session costs a hundred times as much."""

    id: str
    callout_id: int | None
    incident_id: int | None
    drill_id: int | None
    fault_id: int | None
    person: Person
    person_id: int
    channel: str
    payload: dict[str, Any]
    next_at: datetime
    created_at: datetime
    state: str = "pending"
    attempts: int = 0


# Made once: at a hundred alerts a second, putting a statement together costs as much as its answer.
_WAITING = (
    select(Callout)
    .where(Callout.expanded_at.is_(None))
    .order_by(Callout.created_at, Callout.id)
    .limit(bindparam("most"))
    .with_for_update(of=Callout, skip_locked=True)
)


def waiting_callouts(session: Session, limit: int = 50, but: Collection[int] = ()) -> Sequence[Callout]:
    """Call-outs nobody has expanded yet, oldest first, locked (others skip them) until the transaction ends; ``but``
    not these."""
    waiting = _WAITING.where(Callout.id.not_in(but)) if but else _WAITING
    return session.scalars(waiting, {"most": limit}).all()


def expand(callout: Callout, drafts: Iterable[Draft], now: datetime, claimed: Collection[str] = ()) -> list[NewNotice]:
    """Turn drafts into the notices of a call-out, for ``write``.

    Those of the channels in ``claimed`` that need not wait are claimed from the beginning: the caller sends them.
    """
    made = [_make(draft, now, callout=callout) for draft in drafts]
    for notice in made:
        if notice.channel in claimed and notice.next_at <= now:
            notice.next_at, notice.attempts = now + LEASE, 1
    return made


_COLUMNS = tuple(field.name for field in fields(NewNotice) if field.name != "person")


def write(writes: bulk.Writes, made: Iterable[NewNotice]) -> None:
    """Write new notices."""
    writes.insert(Notice, [{name: getattr(notice, name) for name in _COLUMNS} for notice in made])


def mark_expanded(writes: bulk.Writes, callouts: Iterable[Callout], now: datetime) -> None:
    """These call-outs are done: expanded, or needless because the incident is over or everybody was told."""
    writes.update(Callout, [{"id": callout.id, "expanded_at": now} for callout in callouts])


def begin_drill(session: Session, drafts: Iterable[Draft], note: str, now: datetime) -> Drill:
    """Write the notices of a drill; the caller commits. They go the way of all notices and touch no incident."""
    drill = Drill(started_at=now, note=note)
    session.add(drill)
    session.flush()
    writes = bulk.Writes(session)
    write(writes, [_make(draft, now, drill=drill) for draft in drafts])
    writes.run()
    wake.request(session, wake.DISPATCHER)
    return drill


def tell_of(session: Session, fault: HealthFault, drafts: Iterable[Draft], now: datetime) -> None:
    """Write the notices of a camera's fault, or that it is over; the caller commits. No incident's record
    speaks of them."""
    writes = bulk.Writes(session)
    write(writes, [_make(draft, now, fault=fault) for draft in drafts])
    writes.run()
    wake.request(session, wake.DISPATCHER)


def _make(
    draft: Draft,
    now: datetime,
    *,
    callout: Callout | None = None,
    drill: Drill | None = None,
    fault: HealthFault | None = None,
) -> NewNotice:
    number = str(uuid.uuid4())
    return NewNotice(
        id=number,
        callout_id=callout.id if callout else None,
        incident_id=callout.incident_id if callout else None,
        drill_id=drill.id if drill else None,
        fault_id=fault.id if fault else None,
        person=draft.person,
        person_id=draft.person.id,
        channel=draft.channel,
        payload=draft.payload | {"id": number},
        next_at=now + draft.wait,
        created_at=now,
    )


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


def next_due(session: Session, channels: Sequence[str]) -> dict[str, datetime]:
    """When the next pending notice of each of these channels may be tried; without those on which none is."""
    if not channels:
        return {}
    mine = [
        select(func.min(Notice.next_at)).where(Notice.state == "pending", Notice.channel == name).scalar_subquery()
        for name in channels
    ]
    due = session.execute(select(*mine)).one()
    return {name: at for name, at in zip(channels, due, strict=True) if at is not None}
