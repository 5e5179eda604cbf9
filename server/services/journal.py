# SPDX-License-Identifier: AGPL-3.0-or-later
"""Appending to an incident's journal: the only place where its state changes hands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.clocks import Entry
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.models import Incident, JournalEntry

GENESIS = "0" * 64


def entry_hash(entry: JournalEntry) -> str:
    """SHA-256 over the previous hash and the line in canonical JSON (sorted keys, no spaces, UTC)."""
    line = {
        "incident_id": entry.incident_id,
        "seq": entry.seq,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "event": entry.event,
        "actor": entry.actor,
        "from_state": entry.from_state,
        "to_state": entry.to_state,
        "data": entry.data,
    }
    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256((entry.prev_hash + text).encode()).hexdigest()


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
    """Add one line and move the incident's projection along. The caller holds the incident's lock."""
    first = incident.last_seq == 0
    entry = JournalEntry(
        incident_id=incident.id,
        seq=incident.last_seq + 1,
        at=now,
        event=event.value,
        actor=actor,
        from_state=None if first else incident.state,
        to_state=to_state.value,
        data=dict(data or {}),
        answer_id=answer_id,
        prev_hash=incident.last_hash,
    )
    entry.hash = entry_hash(entry)
    incident.last_seq, incident.last_hash = entry.seq, entry.hash
    incident.state = to_state.value
    if to_state in FINAL_STATES and incident.ended_at is None:
        incident.ended_at = now
    elif to_state not in FINAL_STATES:
        incident.ended_at = None
    session.add(entry)
    return entry


def read(session: Session, incident_id: int) -> list[Entry]:
    """The whole journal of an incident, oldest first."""
    session.flush()
    rows = session.scalars(
        select(JournalEntry).where(JournalEntry.incident_id == incident_id).order_by(JournalEntry.seq)
    )
    return [row.to_entry() for row in rows]


def first_broken_line(session: Session, incident_id: int) -> int | None:
    """The seq of the first line whose hash or order does not hold, or None when the chain is whole."""
    previous, expected = GENESIS, 1
    rows = session.scalars(
        select(JournalEntry).where(JournalEntry.incident_id == incident_id).order_by(JournalEntry.seq)
    )
    for row in rows:
        if row.seq != expected or row.prev_hash != previous or row.hash != entry_hash(row):
            return row.seq
        previous, expected = row.hash, expected + 1
    incident = session.get_one(Incident, incident_id)
    return None if (incident.last_seq, incident.last_hash) == (expected - 1, previous) else expected
