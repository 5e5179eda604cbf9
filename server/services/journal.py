# SPDX-License-Identifier: AGPL-3.0-or-later
"""Appending to an incident's journal: the only place where its state changes hands."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.clocks import CLOCK_BACK, RECEIVED, Entry
from server.domain.errors import Missing
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.models import Incident, JournalEntry, PrivateValue
from server.models.incident import SEALED

GENESIS = "0" * 64
# How long a line can have waited for its incident's lock: SQLite's own limit (server.db), and ample on PostgreSQL.
_LONGEST_WAIT = timedelta(seconds=15)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
# What may hold words about a person or say where one stood; a failed notice's reason may hold a telephone number.
_PERSONAL = frozenset({"note", "lat", "lon"})
# Their reason is one of a few words; any other is whatever somebody wrote.
_CODED = frozenset({Event.MARK_FALSE, Event.REPORT_FALSE, Event.EXCUSE})


def canonical(value: Any) -> str:
    """The one way of writing a value that hashes are taken of: JSON, keys sorted, no spaces, UTF-8."""
    return _encode(value)


def line(
    *,
    incident_id: int,
    seq: int,
    at: datetime,
    event: str,
    actor: str,
    from_state: str | None,
    to_state: str,
    data: Mapping[str, Any],
    answer_id: str | None = None,
) -> dict[str, Any]:
    """What a line's hash covers, as plain data; a bundle carries exactly this."""
    return {
        "incident_id": incident_id,
        "seq": seq,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "event": event,
        "actor": actor,
        "from_state": from_state,
        "to_state": to_state,
        "data": data,
        "answer_id": answer_id,
    }


def line_of(entry: JournalEntry) -> dict[str, Any]:
    """The line of a row."""
    return line(
        incident_id=entry.incident_id,
        seq=entry.seq,
        at=entry.at,
        event=entry.event,
        actor=entry.actor,
        from_state=entry.from_state,
        to_state=entry.to_state,
        data=entry.data,
        answer_id=entry.answer_id,
    )


def chained(prev_hash: str, line: Mapping[str, Any]) -> str:
    """SHA-256 over the previous hash and the line in canonical form."""
    return hashlib.sha256((prev_hash + canonical(line)).encode()).hexdigest()


def commitment(salt: str, value: Any) -> str:
    """The hash that stands in the journal for a personal detail; the random salt keeps it from being guessed."""
    return hashlib.sha256((salt + canonical(value)).encode()).hexdigest()


def not_before(last_at: datetime | None, now: datetime, data: dict[str, Any]) -> datetime:
    """The time of a line at ``now``: never before the line above it.

    A little before it, the line waited for its turn (its moment was read before the incident's lock was had): it keeps
    the moment it was received. Further back, the server's clock was set back: the line says by how much, and what it
    stamps counts as disputed.
    """
    if last_at is None or now >= last_at:
        return now
    back = last_at - now
    if back <= _LONGEST_WAIT:
        data[RECEIVED] = now.isoformat()
    else:
        data[CLOCK_BACK] = back.total_seconds()
    return last_at


def append(
    session: Session,
    incident: Incident,
    event: Event,
    to_state: State,
    *,
    actor: str,
    now: datetime,
    data: Mapping[str, Any] | None = None,
    answer_id: str | None = None,
) -> JournalEntry:
    """Add one line and move the incident's projection along. The caller holds the incident's lock.

    Personal details in ``data`` are kept apart: the line carries their salted hashes.
    """
    content, private = _seal(event, dict(data or {}))
    at = not_before(incident.last_at, now, content)
    entry = JournalEntry(
        incident_id=incident.id,
        seq=incident.last_seq + 1,
        at=at,
        event=event.value,
        actor=actor,
        from_state=None if incident.last_seq == 0 else incident.state,
        to_state=to_state.value,
        data=content,
        answer_id=answer_id,
        prev_hash=incident.last_hash,
        private=private,
    )
    entry.hash = chained(entry.prev_hash, line_of(entry))
    incident.last_seq, incident.last_hash, incident.last_at = entry.seq, entry.hash, at
    incident.state = to_state.value
    if to_state in FINAL_STATES and incident.ended_at is None:
        incident.ended_at = at
    elif to_state not in FINAL_STATES:
        incident.ended_at = None
    session.add(entry)
    return entry


def _seal(event: Event, data: dict[str, Any]) -> tuple[dict[str, Any], list[PrivateValue]]:
    fixed = event in _CODED or (event is Event.UNREACHED and "notice" not in data)
    names = _PERSONAL if fixed else _PERSONAL | {"reason"}
    found = sorted(name for name in names if data.get(name) is not None)
    if not found:
        return data, []
    private = [PrivateValue(name=name, salt=secrets.token_hex(16), value=data.pop(name)) for name in found]
    data[SEALED] = {one.name: commitment(str(one.salt), one.value) for one in private}
    return data, private


def erase(session: Session, incident: Incident, seq: int, name: str, now: datetime) -> None:
    """Erase a personal detail of one line for good; the caller commits. The chain stays whole: it held only a salted
    hash, and the salt goes too. Raises Missing when there is no such detail (any more)."""
    value = session.scalar(
        select(PrivateValue)
        .join(JournalEntry, JournalEntry.id == PrivateValue.journal_id)
        .where(JournalEntry.incident_id == incident.id, JournalEntry.seq == seq, PrivateValue.name == name)
    )
    if value is None or value.erased_at is not None:
        raise Missing(f"line {seq} of incident {incident.code} holds no {name!r}")
    value.salt, value.value, value.erased_at = None, None, now


def read(session: Session, incident_id: int) -> list[Entry]:
    """The whole journal of an incident, oldest first."""
    session.flush()
    return [row.to_entry() for row in lines(session, incident_id)]


def lines(session: Session, incident_id: int) -> list[JournalEntry]:
    """The rows of an incident's journal, oldest first."""
    query = select(JournalEntry).where(JournalEntry.incident_id == incident_id).order_by(JournalEntry.seq)
    return list(session.scalars(query))


def first_broken_line(session: Session, incident_id: int) -> int | None:
    """The seq of the first line whose hash or order does not hold, or None when the chain is whole."""
    previous, expected = GENESIS, 1
    for row in lines(session, incident_id):
        if row.seq != expected or row.prev_hash != previous or row.hash != chained(previous, line_of(row)):
            return row.seq
        if not _seals_hold(row):
            return row.seq
        previous, expected = row.hash, expected + 1
    incident = session.get_one(Incident, incident_id)
    return None if (incident.last_seq, incident.last_hash) == (expected - 1, previous) else expected


def _seals_hold(row: JournalEntry) -> bool:
    """Whether every personal detail still there is the one that was sealed."""
    sealed = row.data.get(SEALED, {})
    kept = [one for one in row.private if one.erased_at is None]
    return all(sealed.get(one.name) == commitment(str(one.salt), one.value) for one in kept)
