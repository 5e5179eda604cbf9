# SPDX-License-Identifier: AGPL-3.0-or-later
"""The list of incidents with their clocks, in a fixed number of statements however long the list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, or_, select
from sqlalchemy.orm import Session, aliased

from server.domain.clocks import STAMPING, Entry, Interval, Stamps, Verdict, intervals, stamps
from server.domain.lifecycle import OPEN_STATES, State
from server.domain.policy import Policy, parse_policy
from server.models import Camera, Division, Incident, JournalEntry, Picture, PolicyVersion, Sighting
from server.queries.places import PlaceName, grid_name, village_name
from server.queries.viewer import Viewer, visible

_OPEN = sorted(state.value for state in OPEN_STATES)
_STAMPING = sorted(event.value for event in STAMPING)
RECENT = timedelta(hours=24)
LIST_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """A stored camera picture and where the smoke is in it (fractions of width and height); size in pixels."""

    sha256: str
    box: tuple[float, float, float, float] | None
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Summary:
    """An incident as a list shows it. Degrees and metres, WGS-84; errors are one standard deviation."""

    id: int
    code: str
    state: State
    seq: int
    opened_at: datetime
    ended_at: datetime | None
    county_code: str
    grid_code: str | None
    place: PlaceName
    camera_id: str | None
    camera_name: str | None
    confidence: float | None
    bearing: float | None
    lat: float | None
    lon: float | None
    range_m: float | None
    along_m: float | None
    across_m: float | None
    policy: Policy
    policy_version: int
    stamps: Stamps
    clocks: tuple[Interval, Interval, Interval]
    picture: Seen | None

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to act."""
        return self.state in OPEN_STATES

    @property
    def overdue(self) -> bool:
        """Whether it is open and a limit passed without its stop event: late without end."""
        return self.is_open and any(c.verdict is Verdict.BROKEN and c.elapsed_s is None for c in self.clocks[1:])


def listed(
    session: Session, viewer: Viewer, now: datetime, *, show: str = "live", area: str | None = None
) -> list[Summary]:
    """Incidents the viewer may see: overdue first, then open, then ended; newest first within each.

    ``show``: "open", "ended", or "live" (open, and what ended within a day). ``area``: a division's code prefix that
    narrows the list. At most LIST_LIMIT.
    """
    query = _rows().where(visible(viewer), _shown(show, now))
    if area:
        query = query.where(Incident.grid_code.startswith(area, autoescape=True) | (Incident.county_code == area))
    newest_first = query.order_by(Incident.state.in_(_OPEN).desc(), Incident.opened_at.desc(), Incident.id.desc())
    found = summaries(session, session.execute(newest_first.limit(LIST_LIMIT)).all(), now)
    return sorted(found, key=lambda one: (not one.overdue, not one.is_open))


def one(session: Session, viewer: Viewer, code: str, now: datetime) -> Summary | None:
    """One incident by its short code; None when it does not exist or the viewer may not see it."""
    rows = session.execute(_rows().where(visible(viewer), Incident.code == code.upper())).all()
    return next(iter(summaries(session, rows, now)), None)


def versions(session: Session, viewer: Viewer, now: datetime) -> list[tuple[str, str, int]]:
    """(code, state, last journal line) of what "live" lists: enough to know that a screen is out of date."""
    rows = session.execute(
        select(Incident.code, Incident.state, Incident.last_seq)
        .where(visible(viewer), _shown("live", now))
        .order_by(Incident.opened_at.desc(), Incident.id.desc())
        .limit(LIST_LIMIT)
    )
    return [(code, state, seq) for code, state, seq in rows]


def _shown(show: str, now: datetime) -> ColumnElement[bool]:
    is_open = Incident.state.in_(_OPEN)
    if show == "open":
        return is_open
    if show == "ended":
        return ~is_open
    return or_(is_open, Incident.ended_at > now - RECENT)


def _rows() -> Select[*tuple[Any, ...]]:
    grid, up, top, above = aliased(Division), aliased(Division), aliased(Division), aliased(Division)
    county = aliased(Division)
    return (
        select(
            Incident,
            county.name.label("county"),
            grid.name.label("grid_name"),
            grid.level.label("grid_level"),
            up.name.label("up_name"),
            top.name.label("top_name"),
            above.name.label("above_name"),
            Camera.name.label("camera"),
            PolicyVersion,
        )
        .join(county, county.code == Incident.county_code)
        .join(PolicyVersion, PolicyVersion.id == Incident.policy_id)
        .outerjoin(grid, grid.code == Incident.grid_code)
        .outerjoin(up, up.code == grid.parent_code)
        .outerjoin(top, top.code == up.parent_code)
        .outerjoin(above, above.code == top.parent_code)
        .outerjoin(Camera, Camera.id == Incident.camera_id)
    )


def summaries(session: Session, rows: Sequence[Row[Any]], now: datetime) -> list[Summary]:
    """Fill in the clocks and first pictures, with one statement for all journals and one for all pictures."""
    ids = [row.Incident.id for row in rows]
    journals = _journals(session, ids)
    pictures = _first_pictures(session, ids)
    policies = {row.PolicyVersion.id: parse_policy(row.PolicyVersion.body) for row in rows}
    return [
        _summary(row, policies[row.PolicyVersion.id], journals[row.Incident.id], pictures.get(row.Incident.id), now)
        for row in rows
    ]


def _summary(row: Row[Any], policy: Policy, journal: Iterable[Entry], picture: Seen | None, now: datetime) -> Summary:
    incident: Incident = row.Incident
    times = stamps(journal, policy)
    return Summary(
        id=incident.id,
        code=incident.code,
        state=State(incident.state),
        seq=incident.last_seq,
        opened_at=incident.opened_at,
        ended_at=incident.ended_at,
        county_code=incident.county_code,
        grid_code=incident.grid_code,
        place=_place(row),
        camera_id=incident.camera_id,
        camera_name=row.camera,
        confidence=incident.confidence,
        bearing=incident.bearing,
        lat=incident.lat,
        lon=incident.lon,
        range_m=incident.range_m,
        along_m=incident.along_m,
        across_m=incident.across_m,
        policy=policy,
        policy_version=row.PolicyVersion.version,
        stamps=times,
        clocks=intervals(times, policy, now),
        picture=picture,
    )


def _place(row: Row[Any]) -> PlaceName:
    if row.grid_level == "grid":
        village = village_name(row.up_name)
        return PlaceName(row.above_name or row.county, row.top_name, village, row.grid_name)
    if row.grid_level == "village":
        return PlaceName(row.top_name or row.county, row.up_name, village_name(row.grid_name))
    if row.grid_level == "township":
        return PlaceName(row.up_name or row.county, row.grid_name)
    return PlaceName(row.county)


def _journals(session: Session, ids: Sequence[int]) -> defaultdict[int, list[Entry]]:
    found: defaultdict[int, list[Entry]] = defaultdict(list)
    lines = session.scalars(
        select(JournalEntry)
        .where(JournalEntry.incident_id.in_(ids), JournalEntry.event.in_(_STAMPING))
        .order_by(JournalEntry.incident_id, JournalEntry.seq)
    )
    for line in lines:
        found[line.incident_id].append(line.to_entry())
    return found


def _first_pictures(session: Session, ids: Sequence[int]) -> dict[int, Seen]:
    rows = session.execute(
        select(Picture.incident_id, Picture.sha256, Sighting.message)
        .join(Sighting, Sighting.id == Picture.sighting_id)
        .where(Picture.incident_id.in_(ids), Picture.kind == "sighting")
        .order_by(Sighting.received_at.desc())
    )
    # The last assignment is the earliest sighting's picture.
    return {incident_id: seen(sha256, message) for incident_id, sha256, message in rows}


def place_names(session: Session, codes: Iterable[str]) -> dict[str, str]:
    """The names of divisions by code, a grid's with its village's."""
    up = aliased(Division)
    rows = session.execute(
        select(Division.code, Division.level, Division.name, up.name.label("up"))
        .outerjoin(up, up.code == Division.parent_code)
        .where(Division.code.in_(set(codes)))
    )
    return {row.code: grid_name(row.name, row.up) if row.level == "grid" else village_name(row.name) for row in rows}


def seen(sha256: str, message: dict[str, Any]) -> Seen:
    """A picture with the box and frame size its sighting reported (docs/wire.md)."""
    frame, box = message.get("frame") or {}, message.get("box")
    x1, y1, x2, y2 = box or (0.0, 0.0, 0.0, 0.0)
    return Seen(
        sha256,
        (x1, y1, x2, y2) if box else None,
        int(frame.get("width") or 16),
        int(frame.get("height") or 9),
    )
