# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ladder's deadlines: kept in step with the journal, and fired once each, at their time.

``reconcile`` makes the armed rows equal to what the journal and the policy say, so no caller thinks about arming or
cancelling. ``sweep`` fires what is due; its journal lines and call-outs share its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, any_, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.dml import ReturningUpdate

from server import wake
from server.domain.clocks import Entry, standing
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.domain.policy import AFTER_REPORT, STOPS, Key, Policy, Step, parse_policy
from server.models import Callout, Deadline, Incident, PolicyVersion
from server.services import bulk, chain, journal
from server.services.chain import Head

# Fired so long after its time, a step was caught up after an outage, and its line says so.
CAUGHT_UP = timedelta(seconds=5)
# Where the wait for a step begins anew: it belongs to this line of the journal (0: to the alert) and counts from it.
_Start = tuple[int, datetime]


def reconcile(session: Session, incident: Incident, now: datetime) -> None:
    """Arm and cancel so that the standing deadlines are those the journal calls for. Idempotent."""
    policy = parse_policy(incident.policy.body)
    wanted = wanted_steps(State(incident.state), incident.opened_at, policy, journal.read(session, incident.id))
    rows = session.scalars(
        select(Deadline).where(Deadline.incident_id == incident.id, Deadline.cancelled_at.is_(None))
    ).all()
    for row in rows:
        if row.step not in wanted and row.fired_at is None:
            row.cancelled_at = now
    known = {row.step for row in rows}
    for key, (step, due) in wanted.items():
        if key not in known:
            session.add(Deadline(incident_id=incident.id, step=key, until=step.until, due_at=due))
    session.flush()
    wake.request(session, wake.CLOCK)


def wanted_steps(
    state: State, opened_at: datetime, policy: Policy, entries: Sequence[Entry]
) -> dict[str, tuple[Step, datetime]]:
    """The steps waited for and not stopped, fired or not, by the key of their deadline, with their due times.

    Until "accept" and "arrive": a hand-over begins anew, for the new owner, but the breach of the promise made with the
    alert stands beside it. Until "report": from the alert, whatever is handed over; a rejected report does not stop
    them. Until "verify" and "close": from the report that stands.
    """
    if state in FINAL_STATES:
        return {}
    valid = standing(entries)
    wanted = {}
    for step in policy.ladder:
        for seq, at in _starts(step, opened_at, valid):
            if _stopped(step, seq, valid):
                continue
            round_ = _round(step, seq, at, entries) if step.every_s else 0
            wanted[str(Key(step.key, round_, seq))] = (step, step.due(at, round_))
    return wanted


def _stopped(step: Step, since: int, valid: Sequence[Entry]) -> bool:
    """Whether what the step waits for came behind the line ``since``; a rejected report does not count."""
    reported = max(since, _rejected(valid))
    return any(
        entry.event in STOPS[step.until] and entry.seq > (reported if entry.event in STOPS["report"] else since)
        for entry in valid
    )


def _round(step: Step, seq: int, start: datetime, entries: Sequence[Entry]) -> int:
    """Which round of a repeated step comes next, by the lines of those that fired."""
    lines = [(Key.parse(entry.data["step"]), entry.at) for entry in entries if "step" in entry.data]
    fired = [(key.round, at) for key, at in lines if (key.step, key.line) == (step.key, seq)]
    return step.following(*(max(fired)[0], start, max(fired)[1])) if fired else 0


def _starts(step: Step, opened_at: datetime, valid: Sequence[Entry]) -> list[_Start]:
    alert = 0, opened_at
    if step.until == "report":
        return [alert]
    if step.until in AFTER_REPORT:
        reports = [entry for entry in valid if entry.event in STOPS["report"] and entry.seq > _rejected(valid)]
        return [(entry.seq, entry.at) for entry in reports[:1]]
    transfer = next((entry for entry in reversed(valid) if entry.event is Event.TRANSFER), None)
    if transfer is None:
        return [alert]
    # A hand-over restarts no clock of the promise: else handing over in time, again and again, would keep it silent.
    return [(transfer.seq, transfer.at), *([alert] if step.event == "breach" else [])]


def _rejected(valid: Sequence[Entry]) -> int:
    return max((entry.seq for entry in valid if entry.event is Event.REJECT), default=0)


@dataclass(frozen=True, slots=True)
class Fired:
    """A deadline that fired: its step, its true due time and when the sweep came to it."""

    incident_id: int
    step: str
    due_at: datetime
    fired_at: datetime


def sweep(session: Session, now: datetime, limit: int = 500) -> list[Fired]:
    """Fire what is due before ``now``, oldest first, at most ``limit``; the caller commits.

    One statement claims the rows together with their incidents, skipping those that another replica or an answer holds:
    each fires once on any number of replicas and never beside an answer being committed. Its effects are one more
    statement, however many rows.
    """
    claimed = session.execute(
        _claim(now, limit, session.get_bind().dialect.name), execution_options={"synchronize_session": False}
    ).all()
    if not claimed:
        return []
    rows = sorted(claimed, key=lambda row: (row.due_at, row.id))
    _effects(session, rows, now)
    wake.request(session, wake.DISPATCHER)
    return [Fired(row.incident_id, row.step, row.due_at, now) for row in rows]


def _claim(now: datetime, limit: int, dialect: str) -> ReturningUpdate[int, int, str, datetime]:
    """One statement: the due rows, those of them whose incident nobody holds, and what they say."""
    due = (
        select(Deadline.id, Deadline.incident_id)
        .where(Deadline.due_at < now, Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
        .order_by(Deadline.due_at, Deadline.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    free = (
        select(Incident.id)
        .where(_among(Incident.id, select(due.c.incident_id), dialect))
        .with_for_update(skip_locked=True)
        .cte("free")
    )
    return (
        update(Deadline)
        .where(_among(Deadline.id, select(due.c.id).join(free, free.c.id == due.c.incident_id), dialect))
        .values(fired_at=now)
        .returning(Deadline.id, Deadline.incident_id, Deadline.step, Deadline.due_at)
    )


def _among(column: InstrumentedAttribute[int], found: Select[int], dialect: str) -> ColumnElement[bool]:
    """Looked up one by one. PostgreSQL's plan for a prepared statement cannot know that few are due: asked with IN it
    reckons with a third of the table and reads all of it (21 ms against 0.3 ms among 50,000)."""
    return column.in_(found) if dialect == "sqlite" else column == any_(func.array(found.scalar_subquery()))


def _effects(session: Session, rows: Sequence[Row[int, int, str, datetime]], now: datetime) -> None:
    """The journal lines and call-outs of fired deadlines, the rounds that follow, and the incidents' new heads."""
    heads = _heads(session, {row.incident_id for row in rows})
    entries, callouts, rounds = [], [], []
    for row in rows:
        head, policy = heads[row.incident_id]
        step = policy.step(row.step)
        data: dict[str, Any] = {"step": row.step, "due_at": row.due_at.isoformat(), "rungs": list(step.rungs)}
        if now - row.due_at > CAUGHT_UP:
            data["caught_up"] = True
        entries.append(head.add(step.event, "system:clock", now, data))
        callouts += [
            {"incident_id": row.incident_id, "rung": rung, "cause": row.step, "kind": step.event, "created_at": now}
            for rung in step.rungs
        ]
        if step.every_s:
            rounds.append(_next_round(row, step, entries[-1]["at"]))
    writes = bulk.Writes(session)
    chain.write(writes, entries, [head for head, _ in heads.values()])
    writes.insert(Callout, callouts)
    writes.insert(Deadline, rounds)
    writes.run()
    session.expire_all()  # the statements above went past what the session has loaded


def _heads(session: Session, ids: set[int]) -> dict[int, tuple[Head, Policy]]:
    # On PostgreSQL the rows are locked by the claim and this reads their newest committed version.
    found = session.execute(
        select(
            Incident.id, Incident.state, Incident.last_seq, Incident.last_hash, Incident.last_at, Incident.policy_id
        ).where(Incident.id.in_(ids))
    ).all()
    policies = _policies(session, {row[5] for row in found})
    return {row[0]: (Head(*row[:5]), policies[row[5]]) for row in found}


# By database: the versions of policies never change, and the sweep is the one place that needs them at once.
_KNOWN: WeakKeyDictionary[Engine | Connection, dict[int, Policy]] = WeakKeyDictionary()


def _policies(session: Session, ids: set[int]) -> dict[int, Policy]:
    known = _KNOWN.setdefault(session.get_bind(), {})
    if missing := ids - known.keys():
        rows = session.scalars(select(PolicyVersion).where(PolicyVersion.id.in_(missing)))
        known.update({row.id: parse_policy(row.body) for row in rows})
    return known


def _next_round(row: Row[int, int, str, datetime], step: Step, at: datetime) -> dict[str, Any]:
    """The deadline that follows a repeated step's, armed as that one fires."""
    key = Key.parse(row.step)
    start = row.due_at - (step.due(row.due_at, key.round) - row.due_at)
    round_ = step.following(key.round, start, at)
    due = step.due(start, round_)
    return {"incident_id": row.incident_id, "step": str(replace(key, round=round_)), "until": step.until, "due_at": due}


def next_due(session: Session) -> datetime | None:
    """When the next deadline is due; None when nothing is armed."""
    return session.scalar(
        select(func.min(Deadline.due_at)).where(Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
    )
