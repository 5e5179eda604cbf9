# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record's time goes on evenly whatever is done to the database's clock, and says so in the journal (ADR 11)."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from server.db import STEERED_S, Database, DatabaseClock
from server.domain.clocks import CLOCK_BACK
from server.domain.lifecycle import OPEN_STATES, Event, State
from server.models import Callout, Incident, Notice, ServerClock
from server.services import incidents, journal, opening

EVERY_S = 1.0
_SEEN_EVERY = timedelta(seconds=5)
_OPEN = Incident.state.in_([state.value for state in sorted(OPEN_STATES)])
log = logging.getLogger("clock")


class Continuity:
    """Writes down for all processes what this one's clock noticed. Any number may run."""

    def __init__(self, database: Database, clock: DatabaseClock) -> None:
        self._database = database
        self._clock = clock

    def resume(self) -> float:
        """To be called before anything else at a start: take up the record's time where it was last seen. Seconds by
        which the clock was set back while nobody looked.

        How long that was cannot be known, so what is stamped from here on in open incidents is disputed where it would
        be kept; nothing fires early.
        """
        with self._database.write() as session:
            row, now = _locked(session), self._clock.now(session)
            newest = session.scalar(select(func.max(Incident.last_at)).where(_OPEN))
            seen = max((at for at in (row.seen_at, newest) if at is not None), default=now)
            back = (seen - now).total_seconds()
            if back <= STEERED_S:
                return 0.0
            _carry_on(session, row, back, seen, {CLOCK_BACK: back})
            return back

    def step(self) -> float:
        """Write down a clock that was set back, or that the record can follow again, and that it was seen. Seconds by
        which it was set back, 0 when it was not."""
        with self._database.read() as session:
            now, missing = self._clock.look(session)
            row = session.get_one(ServerClock, 1)
        if not missing and row.ahead_s == 0 and row.seen_at is not None and now - row.seen_at < _SEEN_EVERY:
            return 0.0
        with self._database.write() as session:
            row = _locked(session)
            now, missing = self._clock.look(session)  # another replica may have written it down
            if missing:
                _carry_on(session, row, missing, now, {"set_back_s": round(missing, 3)})
            elif row.ahead_s and _rests(session):
                _follow(row, now)
            else:
                row.seen_at = max(now, row.seen_at or now)
            return missing


def _locked(session: Session) -> ServerClock:
    return session.get_one(ServerClock, 1, with_for_update=True, populate_existing=True)


def _carry_on(session: Session, row: ServerClock, back_s: float, now: datetime, data: dict[str, float]) -> None:
    """Move the record ahead of the database's clock, and let every open incident's journal say so."""
    log.error("the database's clock was set back by %.1f s: the record goes on without it", back_s)
    row.ahead_s, row.seen_at, row.set_back_at = row.ahead_s + back_s, now, now
    ids = session.scalars(select(Incident.id).where(_OPEN)).all()
    for incident in incidents.lock_all(session, ids).values():
        state = State(incident.state)
        if state in OPEN_STATES:
            journal.append(session, incident, Event.CLOCK_BACK, state, actor="system:clock", now=now, data=data)


def _rests(session: Session) -> bool:
    """Whether nothing is under way whose time would be cut; nobody opens an incident until this transaction ends."""
    opening.one_at_a_time(session)
    waiting = select(Notice.id).where(Notice.state == "pending")
    uncalled = select(Callout.id).where(Callout.expanded_at.is_(None))
    return not session.scalar(
        select(or_(select(Incident.id).where(_OPEN).exists(), waiting.exists(), uncalled.exists()))
    )


def _follow(row: ServerClock, now: datetime) -> None:
    log.warning("nothing is open: the record follows the database's clock again, %.1f s back", row.ahead_s)
    row.seen_at = now - timedelta(seconds=row.ahead_s)
    row.ahead_s, row.epoch = 0.0, row.epoch + 1
