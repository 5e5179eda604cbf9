# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who holds a post now, and who stands in when nobody does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam
from sqlalchemy.orm import Session

from dispatch.region import Region
from server.domain.policy import BESIDE, DEPARTMENTS, RUNGS
from server.models import Duty, Person
from server.queries.rota import Rota, holding

# Who is asked when a rung is empty: the next one up, for a grid by way of its village. An empty deputy's rung stays
# empty: the owner is told beside it.
_CLIMB = ("owner", "deputy", "village", "township", "county", "city")
_HOLDING = holding(Duty.division_code.in_(bindparam("divisions", expanding=True)))
_HELD = {**RUNGS, "village": ("village", "owner")}


@dataclass(frozen=True, slots=True)
class Found:
    """The people of a rung, and the rung on which they were found."""

    people: tuple[Person, ...]
    rung: str


class Roster:
    """The holders of all posts in some divisions at one moment. ``zone`` is that of the rosters' hours, ``country`` the
    one whose holidays count."""

    def __init__(
        self, session: Session, divisions: Collection[str], now: datetime, *, zone: ZoneInfo, country: str = "CN"
    ) -> None:
        self._now = now
        moment = now + timedelta(microseconds=1)
        self._rota = Rota(session, _HOLDING, now, moment, zone=zone, country=country, divisions=list(divisions))

    def on_duty(self, division: str, post: str) -> tuple[Person, ...]:
        """The holders of a post. A shift precedes a standing duty, a substitute stands in for who is away."""
        stands = [one for one in self._rota.stands(division, post) if one.since <= self._now < one.until]
        shifts = [stand for stand in stands if stand.shift]
        return tuple({stand.person.id: stand.person for stand in (shifts or stands)}.values())

    def find(self, region: Region, grid: str, rung: str) -> Found:
        """The people on duty for a grid's rung, climbing to the next rung while nobody is there. For the rung beside
        the ladder all departments' people of its county and its city."""
        if rung == BESIDE:
            return Found(self._departments(region, grid), rung)
        rungs = (rung,) if rung == "deputy" else _CLIMB[_CLIMB.index(rung) :]
        for candidate in rungs:
            level, post = _HELD[candidate]
            division = grid if level == "grid" else region.above(grid, level)
            people = self.on_duty(division, post) if division else ()
            if people:
                return Found(people, candidate)
        return Found((), rung)

    def _departments(self, region: Region, grid: str) -> tuple[Person, ...]:
        divisions = [code for level in ("county", "city") if (code := region.above(grid, level))]
        people = [person for code in divisions for post in DEPARTMENTS for person in self.on_duty(code, post)]
        return tuple({person.id: person for person in people}.values())
