# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether everybody who would have to be called can be: the gaps, before a fire finds them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from server.models import Division, Duty, Person

# level of the division -> posts that must be held there
NEEDED = {"village": ("owner", "deputy"), "township": ("leader",), "county": ("duty",), "city": ("duty",)}
_EVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Gap:
    """A post nobody holds, or whose holders no channel reaches, from ``since`` until ``until`` (None: without end).
    ``post`` is empty for a division without an outline."""

    division: str
    name: str
    post: str
    text: str
    since: datetime | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.division} {self.name}: {self.text}"


def gaps(
    session: Session,
    now: datetime,
    *,
    ahead: timedelta = timedelta(),
    channels: Collection[str] = ("mqtt", "sms"),
    prefix: str = "",
) -> list[Gap]:
    """The first gap of every post from ``now`` until ``now + ahead``, by division.

    ``channels``: those that are set up; a phone number serves sms and voice, MQTT and the page need a password.
    ``prefix``: only divisions whose code begins so.
    """
    end = now + ahead
    held: dict[tuple[str, str], list[tuple[Duty, Person]]] = defaultdict(list)
    rows = session.execute(
        select(Duty, Person)
        .join(Person, Person.id == Duty.person_id)
        .where(
            Duty.division_code.startswith(prefix, autoescape=True),
            or_(Duty.starts_at.is_(None), Duty.starts_at <= end),
            or_(Duty.ends_at.is_(None), Duty.ends_at > now),
            Person.active,
        )
    )
    for duty, person in rows:
        held[duty.division_code, duty.post].append((duty, person))
    found = []
    divisions = select(Division.code, Division.name, Division.level, Division.geometry)
    for row in session.execute(
        divisions.where(Division.code.startswith(prefix, autoescape=True)).order_by(Division.code)
    ):
        for post in NEEDED[row.level]:
            gap = _gap(row.code, row.name, post, held[row.code, post], now, end, channels)
            if gap is not None:
                found.append(gap)
        if row.level == "village" and not row.geometry:
            found.append(Gap(row.code, row.name, "", "has no outline: no position will ever find it"))
    return found


def _gap(
    code: str,
    name: str,
    post: str,
    holders: Sequence[tuple[Duty, Person]],
    now: datetime,
    end: datetime,
    channels: Collection[str],
) -> Gap | None:
    covered = [(duty.starts_at or now, duty.ends_at or _EVER) for duty, _ in holders]
    hole = _first_hole(covered, now, end)
    if hole is not None:
        since, until = hole
        when = "" if since == now and until is None else f" from {_hour(since)} until {_hour(until)}"
        text = f"nobody is {post}{when}: import one with `straw1530 admin people import`"
        return Gap(code, name, post, text, since, until)
    reachable = [(duty.starts_at or now, duty.ends_at or _EVER) for duty, who in holders if _reachable(who, channels)]
    hole = _first_hole(reachable, now, end)
    if hole is not None:
        silent = ", ".join(sorted({who.login for _, who in holders if not _reachable(who, channels)}))
        text = f"the {post} ({silent}) has no phone number and no password: no channel reaches them"
        return Gap(code, name, post, text, *hole)
    return None


def _first_hole(
    covered: Sequence[tuple[datetime, datetime]], now: datetime, end: datetime
) -> tuple[datetime, datetime | None] | None:
    """The first time from ``now`` to ``end`` that no interval covers, and when it ends (None: with no interval)."""
    reached = now
    for start, stop in sorted(covered):
        if start > reached:
            return reached, start
        reached = max(reached, stop)
        if reached > end:
            return None
    return (reached, None) if reached <= end else None


def _hour(moment: datetime | None) -> str:
    return moment.astimezone().isoformat(timespec="minutes") if moment else "further notice"


def _reachable(person: Person, channels: Collection[str]) -> bool:
    by_phone = person.phone is not None and not {"sms", "voice"}.isdisjoint(channels)
    return by_phone or (person.password_hash is not None and "mqtt" in channels)
