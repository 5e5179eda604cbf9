# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who holds a post now, and who stands in when nobody does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from dispatch.region import Region
from server.domain.policy import RUNGS
from server.models import Duty, Person

# Who is asked when a rung is empty: the next one up. An empty deputy's rung stays empty: the owner is told beside it.
_CLIMB = ("owner", "deputy", "township", "county", "city")


@dataclass(frozen=True, slots=True)
class Found:
    """The people of a rung, and the rung on which they were found."""

    people: tuple[Person, ...]
    rung: str


class Roster:
    """The active holders of all posts in some divisions at one moment."""

    def __init__(self, session: Session, divisions: Collection[str], now: datetime) -> None:
        rows = session.scalars(
            select(Duty)
            .join(Person, Person.id == Duty.person_id)
            .where(
                Duty.division_code.in_(divisions),
                or_(Duty.starts_at.is_(None), Duty.starts_at <= now),
                or_(Duty.ends_at.is_(None), Duty.ends_at > now),
                Person.active,
            )
            .order_by(Duty.id)
        )
        self._duties: dict[tuple[str, str], list[Duty]] = defaultdict(list)
        for duty in rows:
            self._duties[duty.division_code, duty.post].append(duty)

    def on_duty(self, division: str, post: str) -> tuple[Person, ...]:
        """The holders of a post. A shift (a duty with a beginning or an end) precedes a standing duty."""
        duties = self._duties.get((division, post), [])
        shifts = [duty for duty in duties if duty.starts_at is not None or duty.ends_at is not None]
        return tuple({duty.person_id: duty.person for duty in (shifts or duties)}.values())

    def find(self, region: Region, grid: str, rung: str) -> Found:
        """The people on duty for a grid's rung, climbing to the next rung while nobody is there."""
        rungs = (rung,) if rung == "deputy" else _CLIMB[_CLIMB.index(rung) :]
        for candidate in rungs:
            level, post = RUNGS[candidate]
            division = region.above(grid, level)
            people = self.on_duty(division, post) if division else ()
            if people:
                return Found(people, candidate)
        return Found((), rung)
