# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fires that no camera reported: by hotline, satellite, patrol or inspection. They join or open incidents as sightings
do, and the same fire seen by a camera later joins theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shapely.geometry import Point, shape
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, undefer

from server import wake
from server.domain.errors import Invalid, NotConcerned, NotPermitted
from server.domain.lifecycle import BURNING_STATES, Event, State
from server.domain.place import Place, same_fire
from server.models import Division, Incident, JournalEntry, Person
from server.services import actors, journal, opening
from server.services.sightings import BEFORE_OPENING, Recorded, around, gap_m, place_of

SOURCES = ("hotline", "satellite", "patrol", "inspection")


@dataclass(frozen=True, slots=True)
class Tip:
    """Somebody's report of a fire. ``id`` was minted once; ``error_m`` is one standard deviation of the position
    (WGS-84); ``seen_at`` when it was seen burning."""

    id: str
    source: str
    lat: float
    lon: float
    error_m: float
    seen_at: datetime
    note: str | None = None


def record(session: Session, tip: Tip, person: Person, now: datetime) -> Recorded:
    """Record a report; the caller commits. The same id again changes nothing. The discovery interval does not apply to
    an incident opened so: nobody saw its smoke begin.

    Raises Invalid for a position in no county, a time to come or an id used otherwise, NotConcerned outside the
    person's area, NotPermitted for who only looks on.
    """
    if not person.active or not actors.BY_ROLE[person.role]:
        raise NotPermitted(f"the role {person.role!r} does not include reporting a fire")
    if tip.seen_at > now:
        raise Invalid("seen_at lies in the future")
    opening.one_at_a_time(session)
    known = session.scalar(select(JournalEntry).where(JournalEntry.answer_id == tip.id))
    if known is not None:
        if known.data.get("source") != tip.source:
            raise Invalid("this report's id was used for something else")
        return Recorded(session.get_one(Incident, known.incident_id), duplicate=True, opened=False)
    county = _county(session, tip)
    if not (county.prefix.startswith(person.area.prefix) or person.area.prefix.startswith(county.prefix)):
        raise NotConcerned("this place lies outside your area")
    place = Place(0.0, tip.lat, tip.lon, None, tip.error_m, tip.error_m)
    position = {"lat": tip.lat, "lon": tip.lon, "error_m": tip.error_m}
    data = {"source": tip.source, "seen_at": tip.seen_at.isoformat(), "position": position, "note": tip.note}
    actor = actors.person(person).label
    incident = _find(session, place, tip.seen_at)
    opened = incident is None
    if incident is None:
        incident = opening.open_incident(
            session, county_code=county.code, place=place, actor=actor, data=data, now=now, answer_id=tip.id
        )
    else:
        state = State(incident.state)
        journal.append(session, incident, Event.SIGHTING, state, actor=actor, now=now, data=data, answer_id=tip.id)
    wake.request(session, wake.DISPATCHER)
    return Recorded(incident, duplicate=False, opened=opened)


def _county(session: Session, tip: Tip) -> Division:
    counties = select(Division).where(Division.level == "county", Division.geometry.is_not(None))
    for county in session.scalars(counties.order_by(Division.code).options(undefer(Division.geometry))):
        if county.geometry and shape(county.geometry).covers(Point(tip.lon, tip.lat)):
            return county
    raise Invalid("lat, lon: this place lies in no county of the region")


def _find(session: Session, place: Place, seen_at: datetime) -> Incident | None:
    """The incident whose fire this is, locked: burning now, or still open when it was seen; the nearest of several."""
    assert place.lat is not None
    assert place.lon is not None
    rows = session.scalars(
        select(Incident).where(
            or_(
                Incident.state.in_([state.value for state in sorted(BURNING_STATES)]),
                and_(Incident.ended_at > seen_at, Incident.opened_at < seen_at + BEFORE_OPENING),
            ),
            around(place.lat, place.lon),
        )
    )
    there = [(gap_m(place, at), row.id, row) for row in rows if (at := place_of(row)) and same_fire(place, at)]
    for _, _, incident in sorted(there):
        session.refresh(incident, with_for_update={"of": Incident})
        if incident.state in BURNING_STATES or (incident.ended_at is not None and incident.ended_at > seen_at):
            return incident
    return None
