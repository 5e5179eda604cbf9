# SPDX-License-Identifier: AGPL-3.0-or-later
"""The county's duty is told of cameras that see nothing and boxes that are silent, and when that is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from dispatch import message
from dispatch.reach import Reach
from dispatch.roster import Roster
from dispatch.texts import CAUSES, Facts
from server.db import Clock, Database
from server.models import Camera, Division, HealthFault, Person
from server.services import health, notices
from server.services.notices import Draft

log = logging.getLogger("dispatch.faults")

_NOTHING = ("incident", "lat", "lon", "radius_m", "bearing", "accept_by", "dispose_by", "picture")


class FaultTeller:
    """``step`` belongs on a thread of its own, now and then; any number of dispatchers may do so."""

    def __init__(self, database: Database, clock: Clock, reach: Reach, zone: ZoneInfo, country: str = "CN") -> None:
        self._database = database
        self._clock = clock
        self._reach = reach
        self._zone = zone
        self._country = country
        self._complained: set[int] = set()

    def step(self) -> None:
        """Write the notices of what is to be told now; the dispatcher sends them as all others."""
        with self._database.write() as session:
            now = self._clock.now(session)
            due = health.to_tell(session, now)
            if due:
                self._reach.refresh(session)
            for fault in due:
                drafts = list(self._drafts(session, fault, now))
                if drafts:
                    notices.tell_of(session, fault, drafts, now)
                    health.told(fault, now)
                elif fault.id not in self._complained:
                    self._complained.add(fault.id)
                    log.warning(
                        "nobody on duty can be told that %s is %s", fault.camera_id or fault.edge_id, fault.state
                    )

    def _drafts(self, session: Session, fault: HealthFault, now: datetime) -> Iterator[Draft]:
        for person in self._people(session, fault, now):
            facts = self._facts(session, fault, person.language, now)
            for channel, _ in self._reach.of(person):
                if channel != "voice":  # nobody is rung up for a camera
                    yield Draft(person, channel, _payload(facts, person.language, channel, fault.since))

    def _people(self, session: Session, fault: HealthFault, now: datetime) -> list[Person]:
        """On duty in the counties that it serves, in the city where there is nobody."""
        counties = session.scalars(
            select(Camera.county_code).where(_its(fault)).distinct().order_by(Camera.county_code)
        )
        found: dict[int, Person] = {}
        for county in counties:
            city = session.scalar(select(Division.parent_code).where(Division.code == county))
            roster = Roster(
                session, [code for code in (county, city) if code], now, zone=self._zone, country=self._country
            )
            there = roster.on_duty(county, "duty") or (roster.on_duty(city, "duty") if city else ())
            found |= {person.id: person for person in there}
        return list(found.values())

    def _facts(self, session: Session, fault: HealthFault, language: str, now: datetime) -> Facts:
        what = "fault" if fault.well_at is None else "well"
        since = fault.well_at or fault.since
        causes = CAUSES[language]
        return Facts(
            code=f"G{fault.id}",
            what=what,
            kind=what,
            place=(fault.camera.name if fault.camera else fault.edge.name,),
            time=f"{since.astimezone(self._zone):%H:%M}",
            minutes=int((now - fault.since).total_seconds()) // 60,
            limit=0,
            lead=causes.get(fault.state, causes[""]),
        )


def _its(fault: HealthFault) -> Any:
    return Camera.id == fault.camera_id if fault.camera_id else Camera.edge_id == fault.edge_id


def _payload(facts: Facts, language: str, channel: str, since: datetime) -> dict[str, Any]:
    words = message.words(facts, language, channel)
    return words | dict.fromkeys(_NOTHING) | {"rung": "county", "kind": facts.kind, "t2": since.isoformat()}
