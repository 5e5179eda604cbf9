# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeping what the edge boxes find when they look back: when a sighting's smoke first showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from server import wake
from server.domain.errors import Missing
from server.domain.lifecycle import Event, State
from server.models import Incident, Onset, Sighting
from server.services import journal


@dataclass(frozen=True, slots=True)
class OnsetReport:
    """What a box found in ``frames`` kept frames: T0 lies after ``t0_earliest`` (None: each of them had smoke) and by
    ``t0_latest``, by the edge's clock. ``id`` was minted once on the box; ``message`` is kept as it came."""

    id: str
    edge: str
    sighting: str
    t0_earliest: datetime | None
    t0_latest: datetime
    clock_offset_ms: float | None
    clock_error_ms: float | None
    frames: int
    clean_sha256: str | None
    first_sha256: str | None
    message: Mapping[str, Any]


def record(session: Session, report: OnsetReport, now: datetime) -> bool:
    """Append it to the incident's journal, from where the clocks take it; the caller commits. False when it is here
    already. Raises Missing for an unknown sighting of that box."""
    sighting = session.get(Sighting, report.sighting)
    if sighting is None or sighting.camera.edge_id != report.edge:
        raise Missing(f"there is no sighting {report.sighting!r} from {report.edge!r}")
    # The lock first: two copies of one message must not both find that there is none yet.
    incident = session.get_one(Incident, sighting.incident_id, with_for_update={"of": Incident})
    if session.get(Onset, report.id) is not None:
        return False
    session.add(
        Onset(
            id=report.id,
            sighting_id=sighting.id,
            received_at=now,
            message=dict(report.message),
            clean_sha256=report.clean_sha256,
            first_sha256=report.first_sha256,
        )
    )
    data = {
        "sighting": sighting.id,
        "camera": sighting.camera_id,
        "t0_earliest": report.t0_earliest.isoformat() if report.t0_earliest else None,
        "t0_latest": report.t0_latest.isoformat(),
        "clock_offset_ms": report.clock_offset_ms,
        "clock_error_ms": report.clock_error_ms,
        "frames": report.frames,
        "clean": report.clean_sha256,
        "first": report.first_sha256,
    }
    journal.append(session, incident, Event.ONSET, State(incident.state), actor="system:engine", now=now, data=data)
    wake.request(session)
    return True
