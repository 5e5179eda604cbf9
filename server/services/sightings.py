# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a sighting to an incident, in one transaction: deduplicate, place, join or open, arm, call out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from server import wake
from server.domain.errors import Missing
from server.domain.lifecycle import BURNING_STATES, Event, State
from server.domain.place import Place, distance_m, same_fire
from server.domain.policy import parse_policy
from server.locate.region import region
from server.locate.sight import Sight, sight
from server.locate.terrain import Terrain
from server.models import Callout, Camera, Incident, Sighting
from server.services import journal, opening, places, policies

_LATE_AFTER = timedelta(minutes=5)
# A sighting confirmed so long before an incident that is over was opened is of another fire.
BEFORE_OPENING = timedelta(hours=1)
# Places farther apart than this are not compared (degrees; a camera sees at most 20 km, errors on both sides).
NEAR_LAT, NEAR_LON = 0.2, 0.25


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
    view: tuple[float, float, float | None] | None
    picture_sha256: str | None
    message: Mapping[str, Any]
    zoom: float | None = None
    moving: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a report: its incident, and whether it was new."""

    incident: Incident
    duplicate: bool
    opened: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """What a camera saw and where that is, on this terrain: a place, a bearing alone (no ``seen``) when the camera was
    turning or its field of view is not known, or nothing when its direction is not."""

    camera: Camera
    seen: Sight | None
    place: Place | None
    terrain: Terrain | None


def record(session: Session, report: Report, now: datetime, terrain: Terrain | None = None) -> Recorded:
    """Record a sighting; the caller commits. The same id again changes nothing. ``terrain``: what rays are cast on.

    Raises Missing when the camera is not registered to that edge box.
    """
    opening.one_at_a_time(session)
    known = session.get(Sighting, report.id)
    if known is not None:
        return Recorded(session.get_one(Incident, known.incident_id), duplicate=True, opened=False)
    camera = session.get(Camera, report.camera)
    if camera is None or camera.edge_id != report.edge:
        raise Missing(f"camera {report.camera!r} is not registered to the edge box {report.edge!r}")
    look = _look(camera, report, terrain)
    incident = _find(session, look, _on_server_scale(report))
    opened = incident is None
    late = now - _on_server_scale(report) > _LATE_AFTER
    if incident is None:
        incident = _open(session, look, report, late=late, now=now)
    _join(session, incident, look, report, late=late, now=now, opened=opened)
    wake.request(session, wake.DISPATCHER)
    return Recorded(incident, duplicate=False, opened=opened)


def _look(camera: Camera, report: Report, terrain: Terrain | None) -> _Look:
    stated = places.stated(camera, report.view, report.zoom, moving=report.moving)
    if stated is None:
        return _Look(camera, None, None, terrain)
    pan, tilt, hfov = stated
    if report.moving or hfov is None:
        return _Look(camera, None, Place((pan + camera.pan_offset) % 360), terrain)
    seen = sight(camera.id, places.view(camera, (pan, tilt, hfov)), report.box, report.aspect)
    return _Look(camera, seen, region([seen], terrain).place, terrain)


def _on_server_scale(report: Report) -> datetime:
    """T1 as the server's clock would have shown it, as far as that is known."""
    return report.t1 + timedelta(milliseconds=report.clock_offset_ms or 0.0)


def _find(session: Session, look: _Look, t1: datetime) -> Incident | None:
    """The incident this sighting belongs to, locked: burning now, or still open when the smoke was confirmed; the
    nearest of several."""
    burning = Incident.state.in_([state.value for state in sorted(BURNING_STATES)])
    over = and_(Incident.ended_at > t1, Incident.opened_at < t1 + BEFORE_OPENING)
    for incident in _at_place(session, look, or_(burning, over)):
        session.refresh(incident, with_for_update={"of": Incident})
        if incident.state in BURNING_STATES or (incident.ended_at is not None and incident.ended_at > t1):
            return incident
    return None


def _at_place(session: Session, look: _Look, which: ColumnElement[bool]) -> list[Incident]:
    """Incidents of a kind that may be the same fire by their place, nearest first, whatever county they were put in."""
    camera, place = look.camera, look.place
    near: ColumnElement[bool] = Incident.camera_id == camera.id
    if place is not None and place.lat is not None and place.lon is not None:
        near = or_(
            near,
            around(place.lat, place.lon),
        )
    found = []
    for incident in session.scalars(select(Incident).where(which, near).order_by(Incident.opened_at.desc())):
        there = place_of(incident)
        if place is None or there is None:
            if place is there is None:  # never a direction: one fire, as far as anybody knows
                found.append((0.0, incident))
            continue
        elsewhere = incident.camera_id != camera.id
        if elsewhere and (place.lat is None or there.lat is None):
            continue  # a bearing alone says nothing to another camera
        if same_fire(place, there) or (
            elsewhere and look.seen is not None and places.agree(session, incident, look.seen, look.terrain)
        ):
            found.append((gap_m(place, there), incident))
    return [incident for _, incident in sorted(found, key=lambda pair: pair[0])]


def around(lat: float, lon: float) -> ColumnElement[bool]:
    """Incidents that may be the same fire as one here, also on the other side of the date line."""
    beside = [Incident.lon.between(lon + turn - NEAR_LON, lon + turn + NEAR_LON) for turn in (-360, 0, 360)]
    return and_(Incident.lat.between(lat - NEAR_LAT, lat + NEAR_LAT), or_(*beside))


def place_of(incident: Incident) -> Place | None:
    """Where an incident is taken to be; None while nothing is known, not even a bearing."""
    if incident.bearing is None:
        return None
    return Place(incident.bearing, incident.lat, incident.lon, incident.range_m, incident.along_m, incident.across_m)


def gap_m(one: Place, other: Place) -> float:
    """Metres apart; behind all of those, where only bearings are known."""
    if one.lat is None or one.lon is None or other.lat is None or other.lon is None:
        return 1e6 + abs((one.bearing - other.bearing + 180) % 360 - 180)
    return distance_m(one.lat, one.lon, other.lat, other.lon)


def _open(session: Session, look: _Look, report: Report, *, late: bool, now: datetime) -> Incident:
    camera = look.camera
    policy = parse_policy(policies.current(session, camera.county_code).body)
    over = or_(Incident.state == State.VERIFIED.value, Incident.ended_at > now - timedelta(seconds=policy.relapse_s))
    earlier = _at_place(session, look, over)
    return opening.open_incident(
        session,
        county_code=camera.county_code,
        place=look.place,
        actor="system:engine",
        data={
            "sighting": report.id,
            "camera": report.camera,
            "t0_earliest": report.t0_earliest.isoformat() if report.t0_earliest else None,
            "t0_latest": report.t0_latest.isoformat(),
            "t1": report.t1.isoformat(),
            "clock_offset_ms": report.clock_offset_ms,
            "clock_error_ms": report.clock_error_ms,
            "confidence": report.confidence,
            "late": late,
        }
        | ({places.SIGHT: look.seen.to_data()} if look.seen else {"moving": report.moving}),
        now=now,
        camera_id=camera.id,
        confidence=report.confidence,
        reopens=max(earlier, key=lambda incident: incident.opened_at, default=None),
    )


def _join(
    session: Session, incident: Incident, look: _Look, report: Report, *, late: bool, now: datetime, opened: bool
) -> None:
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
    found = places.refine(session, incident, look.seen, look.terrain) if look.seen else {"moving": report.moving}
    entry = journal.append(
        session,
        incident,
        Event.SIGHTING,
        State(incident.state),
        actor="system:engine",
        now=now,
        data={"sighting": report.id, "camera": report.camera, "confidence": report.confidence, "late": late} | found,
    )
    if places.PLACE in found:  # perhaps in another grid, whose owner must know
        cause = f"refined:{entry.seq}"
        session.add(Callout(incident_id=incident.id, rung="owner", cause=cause, kind="dispatch", created_at=now))
