# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ladder's deadlines: kept in step with the journal, and fired once each, at their time.

``reconcile`` makes the armed rows equal to what the journal and the policy say, so no caller thinks about arming or
cancelling. ``sweep`` fires what is due; its journal lines and call-outs share its transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from server import wake
from server.domain.clocks import Entry, standing
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.domain.policy import STOPS, Policy, Step, parse_policy
from server.models import Callout, Deadline, Incident
from server.services import journal


def reconcile(session: Session, incident: Incident, now: datetime) -> None:
    """Arm and cancel so that the standing deadlines are those the journal calls for. Idempotent."""
    policy = parse_policy(incident.policy.body)
    wanted = _wanted(incident, policy, journal.read(session, incident.id))
    standing_rows = {
        row.step: row
        for row in session.scalars(
            select(Deadline).where(Deadline.incident_id == incident.id, Deadline.cancelled_at.is_(None))
        )
    }
    for key, row in standing_rows.items():
        if key not in wanted and row.fired_at is None:
            row.cancelled_at = now
    for key, (step, due) in wanted.items():
        if key not in standing_rows:
            session.add(Deadline(incident_id=incident.id, step=key, until=step.until, due_at=due))
    session.flush()
    wake.request(session)


def _wanted(incident: Incident, policy: Policy, entries: list[Entry]) -> dict[str, tuple[Step, datetime]]:
    """The steps still to be waited for, by key, with their due times.

    A transfer gives the new owner the response steps anew from its own time; disposal runs on from T2.
    """
    if State(incident.state) in FINAL_STATES or incident.state == State.VERIFIED:
        return {}
    valid = standing(entries)
    transfer = next((entry for entry in reversed(valid) if entry.event is Event.TRANSFER), None)
    rejected = max((entry.seq for entry in valid if entry.event is Event.REJECT), default=0)
    wanted = {}
    for step in policy.ladder:
        moved = transfer is not None and step.until != "report"
        # A rejected report does not stop the disposal steps: only a later one does.
        since = transfer.seq if moved and transfer else rejected if step.until == "report" else 0
        if any(entry.event in STOPS[step.until] and entry.seq > since for entry in valid):
            continue
        start = transfer.at if moved and transfer else incident.opened_at
        key = f"{step.key}@{transfer.seq}" if moved and transfer else step.key
        wanted[key] = (step, step.due(start))
    return wanted


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
    each fires once on any number of replicas and never beside an answer being committed.
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
    rows = session.scalars(
        update(Deadline).where(Deadline.id.in_(select(claim.c.id))).values(fired_at=now).returning(Deadline),
        execution_options={"synchronize_session": False},
    ).all()
    rows = sorted(rows, key=lambda row: (row.due_at, row.id))
    incidents = {
        incident.id: incident
        for incident in session.scalars(select(Incident).where(Incident.id.in_({row.incident_id for row in rows})))
    }
    for row in rows:
        _fire(session, incidents[row.incident_id], row, now)
    if rows:
        wake.request(session)
    return [Fired(row.incident_id, row.step, row.due_at, now) for row in rows]


def _fire(session: Session, incident: Incident, row: Deadline, now: datetime) -> None:
    policy = parse_policy(incident.policy.body)
    step = next(step for step in policy.ladder if step.key == row.step.partition("@")[0])
    journal.append(
        session,
        incident,
        Event(step.event),
        State(incident.state),
        actor="system:clock",
        now=now,
        data={"step": row.step, "due_at": row.due_at.isoformat(), "rungs": list(step.rungs)},
    )
    for rung in step.rungs:
        session.add(Callout(incident_id=incident.id, rung=rung, cause=row.step, kind=step.event, created_at=now))


def next_due(session: Session) -> datetime | None:
    """When the next deadline is due; None when nothing is armed."""
    return session.scalar(
        select(func.min(Deadline.due_at)).where(Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
    )
