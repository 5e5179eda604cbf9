# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who holds a post now, and who stands in when nobody does."""

from __future__ import annotations

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


def on_duty(session: Session, division: str, post: str, now: datetime) -> tuple[Person, ...]:
    """The active holders of a post at ``now``. A shift (a duty with a beginning or an end) precedes a standing duty."""
    rows = session.scalars(
        select(Duty)
        .join(Person, Person.id == Duty.person_id)
        .where(
            Duty.division_code == division,
            Duty.post == post,
            or_(Duty.starts_at.is_(None), Duty.starts_at <= now),
            or_(Duty.ends_at.is_(None), Duty.ends_at > now),
            Person.active,
        )
        .order_by(Duty.id)
    ).all()
    shifts = [duty for duty in rows if duty.starts_at is not None or duty.ends_at is not None]
    return tuple({duty.person_id: duty.person for duty in (shifts or rows)}.values())


def find(session: Session, region: Region, grid: str, rung: str, now: datetime) -> Found:
    """The people on duty for a grid's rung, climbing to the next rung while nobody is there."""
    rungs = (rung,) if rung == "deputy" else _CLIMB[_CLIMB.index(rung) :]
    for candidate in rungs:
        level, post = RUNGS[candidate]
        division = region.above(grid, level)
        people = on_duty(session, division, post, now) if division else ()
        if people:
            return Found(people, candidate)
    return Found((), rung)
