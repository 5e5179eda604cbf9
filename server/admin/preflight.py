# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether everybody who would have to be called can be: the gaps, before a fire finds them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from server.models import Division, Duty, Person

# level of the division -> posts that must be held there
NEEDED = {"village": ("owner", "deputy"), "township": ("leader",), "county": ("duty",), "city": ("duty",)}


@dataclass(frozen=True, slots=True)
class Gap:
    """A post nobody holds, or a holder whom no channel reaches. ``post`` is empty for a division without an outline."""

    division: str
    name: str
    post: str
    text: str

    def __str__(self) -> str:
        return f"{self.division} {self.name}: {self.text}"


def gaps(session: Session, now: datetime, channels: Collection[str] = ("mqtt", "sms")) -> list[Gap]:
    """Every gap at ``now``, by division. ``channels``: those that are set up; a phone serves only sms and voice."""
    on_duty: dict[tuple[str, str], list[Person]] = defaultdict(list)
    rows = session.execute(
        select(Duty.division_code, Duty.post, Person)
        .join(Person, Person.id == Duty.person_id)
        .where(
            or_(Duty.starts_at.is_(None), Duty.starts_at <= now),
            or_(Duty.ends_at.is_(None), Duty.ends_at > now),
            Person.active,
        )
    )
    for division, post, person in rows:
        on_duty[division, post].append(person)
    found = []
    for row in session.execute(select(Division.code, Division.name, Division.level).order_by(Division.code)):
        for post in NEEDED[row.level]:
            text = _fault(post, on_duty[row.code, post], channels)
            if text:
                found.append(Gap(row.code, row.name, post, text))
    return found + _without_outline(session)


def _fault(post: str, holders: list[Person], channels: Collection[str]) -> str | None:
    if not holders:
        return f"nobody is {post}: import one with `straw1530 admin people import`"
    silent = [person.login for person in holders if not _reachable(person, channels)]
    if len(silent) == len(holders):
        return f"the {post} ({', '.join(silent)}) has no phone number and no password: no channel reaches them"
    return None


def _reachable(person: Person, channels: Collection[str]) -> bool:
    by_phone = person.phone is not None and not {"sms", "voice"}.isdisjoint(channels)
    # MQTT and the page need somebody who can log in.
    return by_phone or (person.password_hash is not None and "mqtt" in channels)


def _without_outline(session: Session) -> list[Gap]:
    rows = session.scalars(select(Division).where(Division.level == "village").order_by(Division.code))
    text = "has no outline: no position will ever find it"
    return [Gap(row.code, row.name, "", text) for row in rows if not row.geometry]
