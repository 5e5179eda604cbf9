# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a sighting to an incident, in one transaction: deduplicate, place, join or open, arm, call out."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from server import wake
from server.domain.errors import Missing
from server.domain.lifecycle import BURNING_STATES, Event, State
from server.domain.place import Place, View, locate, same_fire
from server.models import Callout, Camera, Division, Incident, Sighting
from server.services import deadlines, journal, policies

# Digits and capitals that are not mistaken for one another when typed or read out.
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_LATE_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Report:
    """A sighting as the edge reported it, already checked for form. Edge times are the edge clock's.

    ``box``: x1, y1, x2, y2 as fractions; ``aspect``: frame width over height; ``view``: pan, tilt and hfov in degrees
    when the box knows them. ``message`` is the whole message, kept as it came.
    """

    id: str
    edge: str
    camera: str
    t0_earliest: datetime | None
    t0_latest: datetime
    t1: datetime
    clock_offset_ms: float | None
    clock_error_ms: float | None
    confidence: float
    box: tuple[float, float, float, float]
    aspect: float
    view: tuple[float, float, float] | None
    picture_sha256: str | None
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a report: its incident, and whether it was new."""

    incident: Incident
    duplicate: bool
    opened: bool


def record(session: Session, report: Report, now: datetime) -> Recorded:
    """Record a sighting; the caller commits. The same id again changes nothing.

    Raises Missing when the camera is not registered to that edge box.
    """
    known = session.get(Sighting, report.id)
    if known is not None:
        return Recorded(session.get_one(Incident, known.incident_id), duplicate=True, opened=False)
    camera = session.get(Camera, report.camera)
    if camera is None or camera.edge_id != report.edge:
        raise Missing(f"camera {report.camera!r} is not registered to the edge box {report.edge!r}")
    # One opening at a time in a county, so that two sightings of one fire cannot open two incidents.
    session.execute(select(Division.code).where(Division.code == camera.county_code).with_for_update(key_share=True))
    place = locate(_view(camera, report), report.box, report.aspect)
    incident = _find(session, camera, place, report.t1)
    opened = incident is None
    if incident is None:
        incident = _open(session, camera, place, report, now)
    late = now - report.t1 > _LATE_AFTER
    _join(session, incident, report, late=late, now=now, opened=opened)
    wake.request(session)
    return Recorded(incident, duplicate=False, opened=opened)


def _view(camera: Camera, report: Report) -> View:
    pan, tilt, hfov = report.view or (camera.pan, camera.tilt, camera.hfov)
    return View(
        camera.lat,
        camera.lon,
        camera.height_m,
        pan,
        tilt,
        hfov,
        camera.pan_error,
        camera.tilt_error,
    )


def _find(session: Session, camera: Camera, place: Place, t1: datetime) -> Incident | None:
    """The incident this sighting belongs to: burning now, or still open when the smoke was confirmed."""
    candidates: Iterable[Incident] = session.scalars(
        select(Incident)
        .where(
            Incident.county_code == camera.county_code,
            or_(
                Incident.state.in_([state.value for state in sorted(BURNING_STATES)]),
                Incident.ended_at > t1,
            ),
        )
        .order_by(Incident.opened_at)
        .with_for_update(of=Incident)
    )
    for incident in candidates:
        if incident.bearing is None:
            continue
        same_camera = incident.camera_id == camera.id
        there = Place(
            incident.bearing,
            incident.lat,
            incident.lon,
            incident.range_m,
            incident.along_m,
            incident.across_m,
        )
        if (same_camera or (place.lat is not None and there.lat is not None)) and same_fire(place, there):
            return incident
    return None


def _open(session: Session, camera: Camera, place: Place, report: Report, now: datetime) -> Incident:
    incident = Incident(
        code=_new_code(session),
        state=State.SUSPECTED.value,
        opened_at=now,
        policy=policies.current(session, camera.county_code),
        camera_id=camera.id,
        county_code=camera.county_code,
        bearing=place.bearing,
        lat=place.lat,
        lon=place.lon,
        range_m=place.range_m,
        along_m=place.along_m,
        across_m=place.across_m,
        confidence=report.confidence,
        last_seq=0,
        last_hash=journal.GENESIS,
    )
    session.add(incident)
    session.flush()
    return _begin(session, incident, report, now)


def _begin(session: Session, incident: Incident, report: Report, now: datetime) -> Incident:
    """The opening line, the first deadlines and the first call-out."""
    journal.append(
        session,
        incident,
        Event.OPEN,
        State.SUSPECTED,
        actor="system:engine",
        now=now,
        data={
            "sighting": report.id,
            "camera": report.camera,
            "t0_earliest": report.t0_earliest.isoformat() if report.t0_earliest else None,
            "t0_latest": report.t0_latest.isoformat(),
            "t1": report.t1.isoformat(),
            "clock_offset_ms": report.clock_offset_ms,
            "clock_error_ms": report.clock_error_ms,
            "confidence": report.confidence,
        },
    )
    session.flush()
    deadlines.reconcile(session, incident, now)
    session.add(Callout(incident_id=incident.id, rung="owner", cause="dispatch", kind="dispatch", created_at=now))
    return incident


def _join(session: Session, incident: Incident, report: Report, *, late: bool, now: datetime, opened: bool) -> None:
    session.add(
        Sighting(
            id=report.id,
            incident_id=incident.id,
            camera_id=report.camera,
            received_at=now,
            late=late,
            confidence=report.confidence,
            message=dict(report.message),
            picture_sha256=report.picture_sha256,
        )
    )
    session.flush()
    if opened:
        return
    incident.confidence = max(incident.confidence or 0.0, report.confidence)
    journal.append(
        session,
        incident,
        Event.SIGHTING,
        State(incident.state),
        actor="system:engine",
        now=now,
        data={"sighting": report.id, "camera": report.camera, "confidence": report.confidence, "late": late},
    )


def _new_code(session: Session) -> str:
    """A short code nobody has yet: 4 characters (1,048,576 of them), 5 once those collide."""
    for length in (4, 4, 4, 5, 6, 8):
        code = "".join(secrets.choice(_ALPHABET) for _ in range(length))
        if session.scalar(select(Incident.id).where(Incident.code == code)) is None:
            return code
    raise RuntimeError("no free incident code in six tries")
