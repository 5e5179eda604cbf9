# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small region to tell incident reports in: one city, two counties, three villages, their people and a camera.

The clock stands still until ``advance``; the real engine runs on a real database.
"""

from __future__ import annotations

import hashlib
import io
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db import Database
from server.domain import clocks
from server.domain.lifecycle import Event, State
from server.domain.place import bearing_to, distance_m
from server.domain.policy import Policy, parse_policy
from server.models import Callout, Camera, Deadline, Division, Duty, EdgeBox, Incident, Person
from server.services import actors, deadlines, incidents, journal, pictures, policies, sightings

START = datetime(2026, 10, 8, 9, 0, tzinfo=UTC)
CITY, COUNTY, OTHER_COUNTY = "330800", "330802", "330803"
TOWNSHIP, OTHER_TOWNSHIP = "330802100", "330803100"
VILLAGE, NEIGHBOUR, FAR_VILLAGE = "330802100201", "330802100202", "330803100201"
CAMERA = (28.960, 118.800)
# In VILLAGE, about 1.5 km east of the camera; in NEIGHBOUR, about 1.5 km south of it.
FIELD = (28.960, 118.8154)
OTHER_FIELD = (28.9465, 118.800)


def square(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A GeoJSON rectangle."""
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


_DIVISIONS = [
    (CITY, "3308", "衢州市", "city", None, square(118.6, 28.8, 119.2, 29.2)),
    (COUNTY, COUNTY, "柯城区", "county", CITY, square(118.7, 28.9, 118.9, 29.1)),
    (OTHER_COUNTY, OTHER_COUNTY, "衢江区", "county", CITY, square(118.9, 28.9, 119.1, 29.1)),
    (TOWNSHIP, TOWNSHIP, "石梁镇", "township", COUNTY, square(118.75, 28.93, 118.85, 28.99)),
    (OTHER_TOWNSHIP, OTHER_TOWNSHIP, "高家镇", "township", OTHER_COUNTY, square(118.95, 28.93, 119.05, 28.99)),
    (VILLAGE, VILLAGE, "东村", "village", TOWNSHIP, square(118.75, 28.955, 118.85, 28.99)),
    (NEIGHBOUR, NEIGHBOUR, "南村", "village", TOWNSHIP, square(118.75, 28.93, 118.85, 28.955)),
    (FAR_VILLAGE, FAR_VILLAGE, "远村", "village", OTHER_TOWNSHIP, square(118.95, 28.93, 119.05, 28.99)),
]
# login, role, area, post, division of the post, language
_PEOPLE = [
    ("worker-1", "worker", VILLAGE, "owner", VILLAGE, "zh"),
    ("worker-2", "worker", VILLAGE, "deputy", VILLAGE, "en"),
    ("neighbour", "worker", NEIGHBOUR, "owner", NEIGHBOUR, "zh"),
    ("stranger", "worker", FAR_VILLAGE, "owner", FAR_VILLAGE, "zh"),
    ("leader", "worker", TOWNSHIP, "leader", TOWNSHIP, "zh"),
    ("county", "supervisor", COUNTY, "duty", COUNTY, "zh"),
    ("other-county", "supervisor", OTHER_COUNTY, "duty", OTHER_COUNTY, "zh"),
    ("city", "supervisor", CITY, "duty", CITY, "zh"),
    ("admin", "admin", CITY, None, CITY, "zh"),
]


def seed(database: Database) -> dict[str, int]:
    """Fill an empty database with the small region; returns each person's id by login. Nobody has a password."""
    with database.write() as session:
        for code, prefix, name, level, parent, shape in _DIVISIONS:
            session.add(
                Division(
                    code=code,
                    prefix=prefix,
                    name=name,
                    level=level,
                    parent_code=parent,
                    geometry=shape,
                    synthetic=True,
                )
            )
            session.flush()
        _add_people(session)
        session.add_all([EdgeBox(id="edge-1", name="石梁塔"), EdgeBox(id="edge-2", name="高家塔")])
        session.flush()
        session.add(
            Camera(
                id="tower-1",
                edge_id="edge-1",
                county_code=COUNTY,
                name="石梁高点",
                lat=CAMERA[0],
                lon=CAMERA[1],
                height_m=40,
                pan=90,
                tilt=-2,
                hfov=40,
            )
        )
        policies.publish(session, None, Policy(), START)
        return {person.login: person.id for person in session.scalars(select(Person))}


def _add_people(session: Session) -> None:
    for number, (login, role, area, post, division, language) in enumerate(_PEOPLE, start=1):
        person = Person(
            login=login,
            name=f"某{number}",
            phone=f"+8612000000{number:03}",
            language=language,
            role=role,
            area_code=area,
        )
        session.add(person)
        session.flush()
        if post is not None:
            session.add(Duty(division_code=division, person_id=person.id, post=post))


def jpeg(shade: int = 120, width: int = 320, height: int = 180) -> bytes:
    """A small picture of one shade."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def report(
    now: datetime,
    *,
    at: tuple[float, float] = FIELD,
    seen_s: float = 10.0,
    camera: str = "tower-1",
    edge: str = "edge-1",
    sighting_id: str | None = None,
    picture: bytes | None = None,
) -> sightings.Report:
    """A sighting whose camera looks straight at ``at``: smoke first seen ``seen_s`` before now, clean 10 s earlier."""
    tilt = -2.0
    pan = bearing_to(*CAMERA, *at)
    # Straight ahead in the picture's middle column; the row follows from the distance by the flat-ground formula.

    depression = math.atan2(40, distance_m(*CAMERA, *at))
    focal = 0.5 / math.tan(math.radians(20))
    y = 0.5 + focal * math.tan(depression + math.radians(tilt)) * (16 / 9)
    return sightings.Report(
        id=sighting_id or str(uuid.uuid4()),
        edge=edge,
        camera=camera,
        t0_earliest=now - timedelta(seconds=seen_s + 10),
        t0_latest=now - timedelta(seconds=seen_s),
        t1=now - timedelta(seconds=1),
        clock_offset_ms=0.0,
        clock_error_ms=50.0,
        confidence=0.7,
        box=(0.49, y - 0.05, 0.51, y),
        aspect=16 / 9,
        view=(pan, tilt, 40.0),
        picture_sha256=None if picture is None else hashlib.sha256(picture).hexdigest(),
        message={"v": 1, "box": [0.49, y - 0.05, 0.51, y]},
    )


@dataclass
class World:
    """The small region at one moment. ``people`` maps logins to ids."""

    database: Database
    people: dict[str, int]
    evidence: Path
    now: datetime = START

    def sighting(self, **how: Any) -> str:
        """A sighting reaches the server; returns its incident's code."""
        with self.database.write() as session:
            return sightings.record(session, report(self.now, **how), self.now).incident.code

    def dispatched(self, **how: Any) -> str:
        """A sighting whose owner has been found (the dispatcher's part, done by hand)."""
        code = self.sighting(**how)
        self.apply(code, Event.DISPATCH, by=None, grid=VILLAGE)
        with self.database.write() as session:
            incidents.lock(session, code).grid_code = VILLAGE
        return code

    def apply(self, code: str, event: Event, by: str | None, *, answer_id: str | None = None, **data: Any) -> State:
        """Somebody (or the dispatcher, by None) does something; returns the new state."""
        with self.database.write() as session:
            actor = actors.system("dispatch")
            if by is not None:
                actor = actors.person(session.get_one(Person, self.people[by]))
            entry = incidents.apply(session, code, event, actor=actor, now=self.now, data=data, answer_id=answer_id)
            return State(entry.to_state)

    def report_done(self, code: str, by: str, photo: bytes | None = None) -> State:
        """The worker photographs the scene and reports it done."""
        with self.database.write() as session:
            person = session.get_one(Person, self.people[by])
            incident = incidents.lock(session, code)
            sha256 = pictures.add_disposal_picture(
                session, incident, person, photo or jpeg(), folder=self.evidence, now=self.now
            )
        return self.apply(code, Event.REPORT_DONE, by, pictures=[sha256])

    def advance(self, *, minutes: float = 0, seconds: float = 0) -> list[deadlines.Fired]:
        """Time passes and the clock's sweep runs at each due moment on the way; returns what fired."""
        end = self.now + timedelta(minutes=minutes, seconds=seconds)
        fired: list[deadlines.Fired] = []
        while True:
            with self.database.read() as session:
                due = deadlines.next_due(session)
            if due is None or due >= end:
                break
            # The first instant at which the moment has passed.
            fired += self.sweep(max(due + timedelta(milliseconds=1), self.now))
        self.now = end
        return fired

    def sweep(self, now: datetime | None = None) -> list[deadlines.Fired]:
        """One sweep of the clock."""
        self.now = now or self.now
        with self.database.write() as session:
            return deadlines.sweep(session, self.now)

    def state(self, code: str) -> State:
        """The incident's state."""
        with self.database.read() as session:
            return State(session.scalars(select(Incident.state).where(Incident.code == code)).one())

    def journal(self, code: str) -> list[clocks.Entry]:
        """The incident's journal."""
        with self.database.read() as session:
            incident = session.scalars(select(Incident).where(Incident.code == code)).one()
            assert journal.first_broken_line(session, incident.id) is None
            return journal.read(session, incident.id)

    def events(self, code: str) -> list[str]:
        """The names of what happened, in order."""
        return [entry.event.value for entry in self.journal(code)]

    def clocks(self, code: str) -> tuple[clocks.Interval, clocks.Interval, clocks.Interval]:
        """The three clocks now."""
        with self.database.read() as session:
            incident = session.scalars(select(Incident).where(Incident.code == code)).one()
            policy = parse_policy(incident.policy.body)
        return clocks.intervals(clocks.stamps(self.journal(code), policy), policy, self.now)

    def callouts(self, code: str) -> list[tuple[str, str]]:
        """(cause, rung) of every call-out so far, in order."""
        with self.database.read() as session:
            rows: Sequence[Callout] = session.scalars(
                select(Callout).join(Incident).where(Incident.code == code).order_by(Callout.id)
            ).all()
            return [(row.cause, row.rung) for row in rows]

    def armed(self, code: str) -> list[str]:
        """The steps still waiting for their time."""
        with self.database.read() as session:
            return list(
                session.scalars(
                    select(Deadline.step)
                    .join(Incident)
                    .where(Incident.code == code, Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
                    .order_by(Deadline.due_at)
                )
            )
