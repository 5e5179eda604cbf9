# SPDX-License-Identifier: AGPL-3.0-or-later
"""The auditor's questions, each one statement. None of them goes through the services that they check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Integer, String, bindparam, text
from sqlalchemy.orm import Session

from server.models import UtcDateTime

# Seconds of grace: a step may be late by so much before somebody must look.
STEP_LATE_S = 5.0
WAITING_LATE_S = 60.0
UNPROVED_S = 900.0
UNPUBLISHED_S = 900.0

_OPEN = "('suspected', 'reviewed', 'dispatched', 'accepted', 'on_site', 'in_hand', 'reported', 'verified')"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong: which check, how many rows, the oldest moment concerned, and a sentence."""

    check: str
    count: int
    since: datetime | None
    sentence: str


# name -> (statement giving count and oldest moment, with :before as the latest moment that is still in order; grace in
# seconds; what it means). A check of the impossible has no grace.
_COUNTS: dict[str, tuple[str, float, str]] = {
    "late_steps": (
        "SELECT count(*), min(due_at) FROM deadlines"
        " WHERE fired_at IS NULL AND cancelled_at IS NULL AND due_at < :before",
        STEP_LATE_S,
        "steps of the ladder are overdue and have not fired: is `straw1530 engine` running?",
    ),
    "early_steps": (
        "SELECT count(*), min(due_at) FROM deadlines WHERE fired_at <= due_at AND due_at < :before",
        0.0,
        "steps fired before their time",
    ),
    "waiting_callouts": (
        "SELECT count(*), min(created_at) FROM callouts WHERE expanded_at IS NULL AND created_at < :before",
        WAITING_LATE_S,
        "call-outs wait for the dispatcher: is `straw1530 dispatch` running?",
    ),
    "waiting_notices": (
        "SELECT count(*), min(next_at) FROM notices WHERE state = 'pending' AND next_at < :before",
        WAITING_LATE_S,
        "notices wait to be sent: is `straw1530 dispatch` running?",
    ),
    "times_ahead": (
        f"SELECT count(*), min(last_at) FROM incidents WHERE state IN {_OPEN} AND last_at > :before",
        -1.0,
        "open incidents have lines from the future: the database's clock was set back",
    ),
    "unpublished": (
        "SELECT count(*), min(failing_since) FROM publications WHERE failing_since < :before",
        UNPUBLISHED_S,
        "places outside take no checkpoints: see the table publications for the reason",
    ),
    "clock_set_back": (
        "SELECT count(*), min(set_back_at) FROM server_clock WHERE ahead_s > 0 AND set_back_at <= :before",
        0.0,
        "clock was set back: the database's. The record goes on without it until no incident is open",
    ),
    "ended_but_armed": (
        "SELECT count(*), min(d.due_at) FROM deadlines d JOIN incidents i ON i.id = d.incident_id"
        " WHERE d.fired_at IS NULL AND d.cancelled_at IS NULL"
        f" AND i.state NOT IN {_OPEN} AND i.ended_at < :before",
        0.0,
        "incidents that are over still have steps to come",
    ),
    "unproved_lines": (
        "SELECT count(*), min(at) FROM journal WHERE at < :before"
        " AND id > (SELECT coalesce(max(journal_floor), 0) FROM log_checkpoints)"
        " AND NOT EXISTS (SELECT 1 FROM log_leaves WHERE journal_id = journal.id)",
        UNPROVED_S,
        "lines of the journal are under no signed checkpoint: is `straw1530 engine` running?",
    ),
}

# Open incidents with nothing armed. Right only when the last step of their present wait has fired.
_RESTING = (
    "SELECT i.id, i.state, i.opened_at FROM incidents i"
    f" WHERE i.state IN {_OPEN} AND NOT EXISTS (SELECT 1 FROM deadlines d"
    " WHERE d.incident_id = i.id AND d.fired_at IS NULL AND d.cancelled_at IS NULL)"
)
_LAST_FIRED = (
    "SELECT until, max(due_at) FROM deadlines"
    " WHERE incident_id = :incident AND fired_at IS NOT NULL AND cancelled_at IS NULL GROUP BY until"
)
_WAITS_FOR = {"reported": "verify", "verified": "close"}


def audit(session: Session, now: datetime, *, step_late_s: float = STEP_LATE_S) -> list[Finding]:
    """Everything that is wrong at ``now`` (the database's time); an empty list when all is well."""
    found = []
    for name, (statement, grace, sentence) in _COUNTS.items():
        seconds = step_late_s if name == "late_steps" else grace
        query = text(statement).bindparams(bindparam("before", now - timedelta(seconds=seconds), UtcDateTime()))
        count, since = session.execute(query.columns(count=Integer(), since=UtcDateTime())).one()
        if count:
            found.append(Finding(name, count, since, f"{count} {sentence}"))
    stranded = _stranded(session)
    if stranded:
        since = min(at for _, at in stranded)
        ids = ", ".join(str(number) for number, _ in stranded[:5])
        sentence = f"{len(stranded)} open incidents have no next step (by number: {ids})"
        found.append(Finding("no_next_step", len(stranded), since, sentence))
    return found


def _stranded(session: Session) -> list[tuple[int, datetime]]:
    resting = session.execute(text(_RESTING).columns(id=Integer(), state=String(), opened_at=UtcDateTime()))
    stranded = []
    for number, state, opened_at in resting:
        fired = {until for until, _ in session.execute(text(_LAST_FIRED), {"incident": number})}
        if _WAITS_FOR.get(state, "report") not in fired:
            stranded.append((number, opened_at))
    return stranded
