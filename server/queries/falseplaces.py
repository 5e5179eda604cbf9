# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where people have judged an edge box's sightings false, for reasons that stay where they are."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.lifecycle import Event, State
from server.models import Camera, Incident, JournalEntry, Sighting

REMEMBERED = timedelta(days=60)
MOST = 300
# Fog and clouds are everywhere; a fire by ritual is a fire.
STAYING = {"chimney", "dust", "glare", "cooking", "steam", "other"}
_ENDED = [State.FALSE_ALARM, State.EXCUSED, State.VERIFIED, State.CLOSED]
_VERDICTS = [Event.MARK_FALSE, Event.EXCUSE, Event.REPORT_FALSE, Event.REPORT_DONE, Event.REJECT]


def of_edge(session: Session, edge: str, now: datetime) -> bytes:
    """The list for ``edge/<edge>/places`` (docs/wire.md): the newest 300 of 60 days. The same list gives the
    same bytes."""
    ended = (
        select(Incident.id)
        .join(Camera, Camera.id == Incident.camera_id)
        .where(Camera.edge_id == edge, Incident.state.in_(_ENDED), Incident.ended_at >= now - REMEMBERED)
    )
    verdicts: dict[int, JournalEntry] = {}
    lines = select(JournalEntry).where(JournalEntry.incident_id.in_(ended), JournalEntry.event.in_(_VERDICTS))
    for line in session.scalars(lines.order_by(JournalEntry.incident_id, JournalEntry.seq)):
        verdicts[line.incident_id] = line  # the last word counts
    false = [number for number, line in verdicts.items() if _stays(line)]
    sightings = session.scalars(
        select(Sighting)
        .where(Sighting.incident_id.in_(false))
        .order_by(Sighting.received_at.desc(), Sighting.id)
        .limit(MOST)
    )
    places = [
        {"camera": sighting.camera_id, "preset": sighting.message.get("preset"), "box": sighting.message["box"]}
        for sighting in sightings
        if "box" in sighting.message
    ]
    return json.dumps({"v": 1, "places": places}, ensure_ascii=False).encode()


def _stays(line: JournalEntry) -> bool:
    reason = line.data.get("reason")
    if line.event == Event.EXCUSE:
        return reason == "chimney"
    return line.event in {Event.MARK_FALSE, Event.REPORT_FALSE} and reason in STAYING
