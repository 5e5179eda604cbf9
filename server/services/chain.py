# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lines of many incidents' journals at once: what machines write by the hundred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.models import Incident, JournalEntry
from server.services import bulk, journal


@dataclass(slots=True)
class Head:
    """The end of an incident's journal while lines are added to it. The caller holds the incident's lock."""

    incident_id: int
    state: str
    seq: int
    hash: str
    at: datetime | None

    def add(
        self, event: str, actor: str, now: datetime, data: Mapping[str, Any], to_state: str | None = None
    ) -> dict[str, Any]:
        """The next line, as a row to insert; ``data`` holds no personal details, ``to_state`` None moves nothing."""
        content = dict(data)
        at = journal.not_before(self.at, now, content)
        line = journal.line(
            incident_id=self.incident_id,
            seq=self.seq + 1,
            at=at,
            event=event,
            actor=actor,
            from_state=self.state,
            to_state=to_state or self.state,
            data=content,
        )
        previous = self.hash
        self.seq, self.hash, self.at = self.seq + 1, journal.chained(previous, line), at
        self.state = line["to_state"]
        return line | {"at": at, "prev_hash": previous, "hash": self.hash}


def write(writes: bulk.Writes, lines: bulk.Rows, heads: Iterable[Head]) -> None:
    """Insert the lines, which moved no state, and move the incidents' projections along."""
    writes.insert(JournalEntry, lines)
    rows = [{"id": one.incident_id, "last_seq": one.seq, "last_hash": one.hash, "last_at": one.at} for one in heads]
    writes.update(Incident, rows)
