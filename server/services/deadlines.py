# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ladder's deadlines: kept in step with the journal, and fired once each, at their time.

``reconcile`` makes the armed rows equal to what the journal and the policy say, so no caller thinks about arming or
cancelling. ``sweep`` fires what is due; its journal lines and call-outs share its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.orm import Session

from server import wake
from server.domain.clocks import Entry, standing
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.domain.policy import AFTER_REPORT, STOPS, Policy, Step, parse_policy
from server.models import Callout, Deadline, Incident, JournalEntry, PolicyVersion
from server.services import bulk, journal

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
    wake.request(session)


def wanted_steps(
    state: State, opened_at: datetime, policy: Policy, entries: Sequence[Entry]
) -> dict[str, tuple[Step, datetime]]:
    """The steps waited for and not stopped, fired or not, by the key of their deadline, with their due times.

    Until "accept" and "arrive": a hand-over begins anew, for the new owner. Until "report": from the alert, whatever is
    handed over; a rejected report does not stop them. Until "verify" and "close": from the report that stands.
    """
    if state in FINAL_STATES:
        return {}
    valid = standing(entries)
    wanted = {}
    for step in policy.ladder:
        start = _start(step, opened_at, valid)
        if start is None:
            continue
        seq, at = start
        since = _rejected(valid) if step.until == "report" else seq
        if any(entry.event in STOPS[step.until] and entry.seq > since for entry in valid):
            continue
        wanted[f"{step.key}@{seq}" if seq else step.key] = (step, step.due(at))
    return wanted


def _start(step: Step, opened_at: datetime, valid: Sequence[Entry]) -> _Start | None:
    if step.until == "report":
        return 0, opened_at
    if step.until in AFTER_REPORT:
        reports = [entry for entry in valid if entry.event in STOPS["report"] and entry.seq > _rejected(valid)]
        return (reports[0].seq, reports[0].at) if reports else None
    transfer = next((entry for entry in reversed(valid) if entry.event is Event.TRANSFER), None)
    return (transfer.seq, transfer.at) if transfer else (0, opened_at)


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
    each fires once on any number of replicas and never beside an answer being committed. Its effects are three more
    statements, however many rows.
    """
    claim = (
        select(Deadline.id)
        .join(Incident, Incident.id == Deadline.incident_id)
        .where(Deadline.due_at < now, Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
        .order_by(Deadline.due_at, Deadline.id)
        .limit(limit)
        .with_for_update(of=[Deadline, Incident], skip_locked=True)
        .cte("due")  # evaluated once: an IN with LIMIT and row locks could be run again by the planner
    )
    claimed = session.execute(
        update(Deadline)
        .where(Deadline.id.in_(select(claim.c.id)))
        .values(fired_at=now)
        .returning(Deadline.id, Deadline.incident_id, Deadline.step, Deadline.due_at),
        execution_options={"synchronize_session": False},
    ).all()
    if not claimed:
        return []
    rows = sorted(claimed, key=lambda row: (row.due_at, row.id))
    _effects(session, rows, now)
    wake.request(session)
    return [Fired(row.incident_id, row.step, row.due_at, now) for row in rows]


@dataclass(slots=True)
class _Head:
    """The end of an incident's journal while lines are added to it."""

    state: str
    seq: int
    hash: str
    at: datetime | None
    policy: Policy


def _effects(session: Session, rows: Sequence[Row[int, int, str, datetime]], now: datetime) -> None:
    """The journal lines and call-outs of fired deadlines, and the incidents' new heads."""
    heads = _heads(session, {row.incident_id for row in rows})
    entries, callouts = [], []
    for row in rows:
        head = heads[row.incident_id]
        step = head.policy.step(row.step)
        entries.append(_entry(head, row, step, now))
        callouts += [
            {"incident_id": row.incident_id, "rung": rung, "cause": row.step, "kind": step.event, "created_at": now}
            for rung in step.rungs
        ]
    bulk.insert_rows(session, JournalEntry, entries)
    bulk.insert_rows(session, Callout, callouts)
    bulk.update_rows(
        session,
        Incident,
        [{"id": key, "last_seq": head.seq, "last_hash": head.hash, "last_at": head.at} for key, head in heads.items()],
    )
    session.expire_all()  # the statements above went past what the session has loaded


def _heads(session: Session, ids: set[int]) -> dict[int, _Head]:
    # On PostgreSQL the rows are locked by the claim and this reads their newest committed version.
    found = session.execute(
        select(
            Incident.id, Incident.state, Incident.last_seq, Incident.last_hash, Incident.last_at, Incident.policy_id
        ).where(Incident.id.in_(ids))
    ).all()
    policies = _policies(session, {row[5] for row in found})
    return {key: _Head(state, seq, hash_, at, policies[policy]) for key, state, seq, hash_, at, policy in found}


# By database: the versions of policies never change, and the sweep is the one place that needs them at once.
_KNOWN: WeakKeyDictionary[Engine | Connection, dict[int, Policy]] = WeakKeyDictionary()


def _policies(session: Session, ids: set[int]) -> dict[int, Policy]:
    known = _KNOWN.setdefault(session.get_bind(), {})
    if missing := ids - known.keys():
        rows = session.scalars(select(PolicyVersion).where(PolicyVersion.id.in_(missing)))
        known.update({row.id: parse_policy(row.body) for row in rows})
    return known


def _entry(head: _Head, row: Row[int, int, str, datetime], step: Step, now: datetime) -> dict[str, Any]:
    data: dict[str, Any] = {"step": row.step, "due_at": row.due_at.isoformat(), "rungs": list(step.rungs)}
    if now - row.due_at > CAUGHT_UP:
        data["caught_up"] = True
    at = journal.not_before(head.at, now, data)
    line = journal.line(
        incident_id=row.incident_id,
        seq=head.seq + 1,
        at=at,
        event=step.event,
        actor="system:clock",
        from_state=head.state,
        to_state=head.state,
        data=data,
    )
    previous = head.hash
    head.seq, head.hash, head.at = head.seq + 1, journal.chained(previous, line), at
    return line | {"at": at, "prev_hash": previous, "hash": head.hash}


def next_due(session: Session) -> datetime | None:
    """When the next deadline is due; None when nothing is armed."""
    return session.scalar(
        select(func.min(Deadline.due_at)).where(Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
    )
