# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who holds which post when: duties with their days and hours, by the calendar, and who stands in for whom."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays
from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, exists, or_, select
from sqlalchemy.orm import Session, contains_eager, lazyload

from server.models import Absence, CalendarDay, Division, Duty, Person

_EVER = datetime.max.replace(tzinfo=UTC)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Stand:
    """A person holds a post from ``since`` until ``until``. A ``shift`` (a duty with a beginning, an end, days or
    hours) precedes a standing duty."""

    since: datetime
    until: datetime
    person: Person
    shift: bool


@functools.cache
def _country(code: str) -> holidays.HolidayBase:
    return holidays.country_holidays(code)


class Calendar:
    """Which days are working days: the country's, with its make-up workdays, unless the county or the city says
    otherwise. ``own``: by day, (how the codes within begin, "work" or "rest")."""

    def __init__(self, country: str, own: Mapping[date, Sequence[tuple[str, str]]]) -> None:
        self._country = _country(country)
        self._own = own

    def works(self, code: str, day: date) -> bool:
        """Whether a day is a working day in the division with this code; the smallest that says something decides."""
        said = [(len(prefix), kind) for prefix, kind in self._own.get(day, ()) if code.startswith(prefix)]
        return max(said)[1] == "work" if said else bool(self._country.is_working_day(day))


def calendar(session: Session, country: str) -> Calendar:
    """The calendar with what counties and the city declared."""
    own: dict[date, list[tuple[str, str]]] = defaultdict(list)
    rows = select(Division.prefix, CalendarDay.day, CalendarDay.kind).join(
        Division, Division.code == CalendarDay.division_code
    )
    for prefix, day, kind in session.execute(rows):
        own[day].append((prefix, kind))
    return Calendar(country, own)


def hours(text: str) -> tuple[time, time]:
    """Beginning and end of "08:00-17:30". Raises ValueError for anything else."""
    begin, dash, end = text.partition("-")
    try:
        if not dash or len(begin) != 5 or len(end) != 5:
            raise ValueError
        return time.fromisoformat(begin), time.fromisoformat("00:00" if end == "24:00" else end)
    except ValueError:
        raise ValueError(f"hours {text!r} must read 08:00-17:30") from None


_SINCE: BindParameter[datetime] = bindparam("since")
_UNTIL: BindParameter[datetime] = bindparam("until")


def holding(which: ColumnElement[bool]) -> Select[Duty, bool]:
    """The duties that a ``Rota`` reads, each with whether its person is away in that time; ``which``: the condition on
    ``Duty``. Made once where it is often used."""
    away = exists().where(Absence.person_id == Duty.person_id, Absence.starts_at < _UNTIL, Absence.ends_at > _SINCE)
    return (
        select(Duty, away)
        .join(Duty.person)
        .options(contains_eager(Duty.person).lazyload(Person.area))
        .where(
            which,
            or_(Duty.starts_at.is_(None), Duty.starts_at < _UNTIL),
            or_(Duty.ends_at.is_(None), Duty.ends_at > _SINCE),
            Person.active,
        )
        .order_by(Duty.id)
    )


class Rota:
    """The holders of all posts of some divisions from ``since`` until ``until``.

    ``held``: the duties, as ``holding`` selects them, with the values that its condition takes; ``zone``: that of the
    hours and days; ``country``: whose holidays.
    """

    def __init__(
        self,
        session: Session,
        held: Select[Duty, bool],
        since: datetime,
        until: datetime,
        *,
        zone: ZoneInfo,
        country: str,
        **values: object,
    ) -> None:
        self._since, self._until, self._zone = since, until, zone
        rows = session.execute(held, {"since": since, "until": until} | values)
        self._duties: dict[tuple[str, str], list[Duty]] = defaultdict(list)
        somebody_away = False
        for duty, away in rows:
            self._duties[duty.division_code, duty.post].append(duty)
            somebody_away |= away
        self._absences = _absences(session, since, until) if somebody_away else {}
        by_calendar = any(duty.days in ("work", "rest") for found in self._duties.values() for duty in found)
        self._calendar = calendar(session, country) if by_calendar else None

    def stands(self, division: str, post: str) -> list[Stand]:
        """Who holds a post when, in no order; a post held by several at once stands here several times."""
        found = []
        for duty in self._duties.get((division, post), ()):
            shift = (duty.starts_at, duty.ends_at, duty.days, duty.hours) != (None, None, None, None)
            for since, until in self._spans(duty):
                found += [
                    Stand(begin, end, person, shift) for begin, end, person in self._present(duty.person, since, until)
                ]
        return found

    def _spans(self, duty: Duty) -> Iterator[tuple[datetime, datetime]]:
        """When a duty stands within the rota's time."""
        first, last = max(duty.starts_at or self._since, self._since), min(duty.ends_at or _EVER, self._until)
        if duty.days is None and duty.hours is None:
            # What reaches beyond the rota's time does so openly: nobody may take its end for the duty's.
            yield first, duty.ends_at or _EVER
            return
        begin, end = hours(duty.hours) if duty.hours else (time(0), time(0))
        day = first.astimezone(self._zone).date() - _DAY
        while day <= last.astimezone(self._zone).date():
            if self._on(duty, day):
                since = datetime.combine(day, begin, self._zone)
                until = datetime.combine(day + (_DAY if end <= begin else timedelta()), end, self._zone)
                since, until = max(since.astimezone(UTC), first), min(until.astimezone(UTC), duty.ends_at or _EVER)
                if since < until and since < last:
                    yield since, until
            day += _DAY

    def _on(self, duty: Duty, day: date) -> bool:
        if duty.days in ("work", "rest"):
            assert self._calendar is not None
            return self._calendar.works(duty.division_code, day) == (duty.days == "work")
        return duty.days is None or str(day.isoweekday()) in duty.days.split(",")

    def _present(
        self, person: Person, since: datetime, until: datetime, asked: Collection[int] = ()
    ) -> Iterator[tuple[datetime, datetime, Person]]:
        """Who is there in somebody's place: themselves, and while they are away their substitute, if any."""
        if not person.active or person.id in asked:
            return
        reached = since
        for absence, substitute in self._absences.get(person.id, ()):
            begin, end = max(absence.starts_at, reached), min(absence.ends_at, until)
            if begin >= end:
                continue
            if begin > reached:
                yield reached, begin, person
            if substitute is not None:
                yield from self._present(substitute, begin, end, (*asked, person.id))
            reached = end
        if reached < until:
            yield reached, until, person


_AWAY = (
    select(Absence, Person)
    .outerjoin(Person, Person.id == Absence.substitute_id)
    .options(lazyload(Person.area))
    .where(Absence.starts_at < _UNTIL, Absence.ends_at > _SINCE)
    .order_by(Absence.starts_at, Absence.id)
)


def _absences(session: Session, since: datetime, until: datetime) -> dict[int, list[tuple[Absence, Person | None]]]:
    rows = session.execute(_AWAY, {"since": since, "until": until})
    found: dict[int, list[tuple[Absence, Person | None]]] = defaultdict(list)
    for absence, substitute in rows:
        found[absence.person_id].append((absence, substitute))
    return found
