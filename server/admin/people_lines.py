# SPDX-License-Identifier: AGPL-3.0-or-later
"""A table of people and their duties, read and checked line by line.

Columns: ``login, name, phone, language, role, area`` and, for a duty, ``post, division, days, hours, starts_at,
ends_at``. Times without an offset are the region's; empty is without end. ``days``: work, rest (by the calendar) or
weekdays like 1,3,5; ``hours``: 08:00-17:30, past midnight when the end is before the beginning. The post ``away`` is an
absence from ``starts_at`` until ``ends_at`` with ``substitute``, a login, or nobody. A login on several lines is one
person with several duties; lines without a post change the person alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.brokerusers import SYSTEM_USERS
from server.admin.phones import to_e164
from server.admin.tables import Problem, Refused, iso, read_table
from server.domain.errors import Invalid
from server.domain.policy import DEPARTMENTS
from server.models import Absence, Division, Duty, EdgeBox, Person
from server.models.region import POSTS, ROLES
from server.queries.rota import hours

COLUMNS = ("login", "name", "phone", "language", "role", "area")
DUTY_COLUMNS = ("post", "division", "days", "hours", "starts_at", "ends_at", "substitute")
AWAY = "away"
# Also a level of an MQTT topic, so no slash, plus or hash.
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}")
# The level of division at which a post is held; any post may be held at several.
_GROUND = {"village", "grid", "zone"}
_POST_LEVELS = {"owner": _GROUND, "deputy": _GROUND, "leader": {"township"}} | {
    post: {"county", "city"} for post in ("duty", *DEPARTMENTS)
}


@dataclass(frozen=True, slots=True)
class Line:
    """One checked line."""

    number: int
    login: str
    name: str
    phone: str | None
    language: str
    role: str
    area: str
    post: str | None
    division: str
    days: str | None
    hours: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    substitute: str | None


def read_people(session: Session, path: Path, zone: ZoneInfo) -> list[Line]:
    """Read and check a file against itself and the database. Raises Refused with every fault."""
    levels: dict[str, str] = {code: level for code, level in session.execute(select(Division.code, Division.level))}
    taken = {*SYSTEM_USERS, *session.scalars(select(EdgeBox.id))}
    problems: list[Problem] = []
    lines: list[Line] = []
    for number, values in read_table(path, COLUMNS):
        try:
            lines.append(_check(number, values, levels, taken, zone))
        except Invalid as error:
            problems.append(Problem(path.name, f"line {number}", str(error)))
    people = session.execute(select(Person.login, Person.phone)).all()
    problems += _contradictions(path.name, lines, {phone: login for login, phone in people if phone})
    problems += _two_owners(session, path.name, lines)
    problems += _absences(session, path.name, lines, {login for login, _ in people})
    if problems:
        raise Refused(sorted(problems, key=lambda problem: int(problem.where.split()[1])))
    return lines


def _check(number: int, values: dict[str, str], levels: dict[str, str], taken: set[str], zone: ZoneInfo) -> Line:
    login, role, language = values["login"], values["role"], values["language"] or "zh"
    if not _LOGIN.fullmatch(login):
        raise Invalid(f"the login {login!r} must be 1 to 40 letters, digits and . _ @ -")
    if login in taken:
        raise Invalid(f"the login {login!r} belongs to a part of the system: choose another")
    if not values["name"]:
        raise Invalid(f"{login} has no name")
    if role not in ROLES:
        raise Invalid(f"the role is one of {', '.join(ROLES)}, not {role!r}")
    if language not in ("zh", "en"):
        raise Invalid(f"the language is zh or en, not {language!r}")
    if values["area"] not in levels:
        raise Invalid(f"the area {values['area']!r} is no division of the region")
    if role == "worker" and not values["phone"]:
        raise Invalid(f"{login} has no phone: a worker is called by it")
    phone = to_e164(values["phone"]) if values["phone"] else None
    post, division = _post(values, levels)
    starts_at, ends_at = _instant(values, "starts_at", zone), _instant(values, "ends_at", zone)
    if starts_at and ends_at and ends_at <= starts_at:
        raise Invalid(f"the duty ends ({ends_at.isoformat()}) before it starts")
    if post == AWAY and not (starts_at and ends_at):
        raise Invalid("an absence needs starts_at and ends_at")
    return Line(
        number=number,
        login=login,
        name=values["name"],
        phone=phone,
        language=language,
        role=role,
        area=values["area"],
        post=post,
        division=division,
        days=_days(values),
        hours=_hours(values),
        starts_at=starts_at,
        ends_at=ends_at,
        substitute=values.get("substitute") or None,
    )


def _post(values: dict[str, str], levels: dict[str, str]) -> tuple[str | None, str]:
    post, division = values.get("post") or None, values.get("division") or values["area"]
    if post is None or post == AWAY:
        return post, division
    if post not in POSTS:
        raise Invalid(f"the post is one of {', '.join([*POSTS, AWAY])}, not {post!r}")
    if division not in levels:
        raise Invalid(f"the division {division!r} is no division of the region")
    if levels[division] not in _POST_LEVELS[post]:
        wanted = " or ".join(sorted(_POST_LEVELS[post]))
        raise Invalid(f"the post {post!r} is held in a {wanted}; {division} is a {levels[division]}")
    return post, division


def _instant(values: dict[str, str], name: str, zone: ZoneInfo) -> datetime | None:
    text = values.get(name)
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(iso(text))
        instant = instant.replace(tzinfo=zone) if instant.tzinfo is None else instant
        instant.astimezone(UTC)  # what no calendar reaches in UTC cannot be stored
    except (ValueError, OverflowError):
        raise Invalid(f"{name} {text!r} is not a time: write 2026-10-01 08:00") from None
    return instant


def _days(values: dict[str, str]) -> str | None:
    text = values.get("days", "").replace(" ", "").replace("，", ",") or None
    if text is None or text in ("work", "rest"):
        return text
    named = text.split(",")
    if not set(named) <= set("1234567") or len(set(named)) < len(named):
        raise Invalid(f"the days are work, rest, or weekdays from 1 (Monday) to 7 like 1,3,5, not {text!r}")
    return ",".join(sorted(named))


def _hours(values: dict[str, str]) -> str | None:
    text = values.get("hours", "").replace(" ", "").replace("：", ":") or None
    if text is not None:
        try:
            begin, end = hours(text)
        except ValueError as error:
            raise Invalid(str(error)) from None
        if begin == end:
            raise Invalid(f"the hours {text!r} begin when they end: leave them empty for the whole day")
    return text


def _contradictions(file: str, lines: Iterable[Line], holders: Mapping[str, str]) -> list[Problem]:
    """Lines that say different things of one person, or of one number; ``holders``: logins by number, in the
    database."""
    problems = []
    people: dict[str, Line] = {}
    numbers: dict[str, Line] = {}
    lines = list(lines)
    named = {line.login for line in lines}
    for line in lines:
        first = people.setdefault(line.login, line)
        if person_of(first) != person_of(line):
            text = f"{line.login} is described otherwise in line {first.number}: make them the same"
            problems.append(Problem(file, f"line {line.number}", text))
        holder = numbers.setdefault(line.phone or line.login, line)
        if holder.login != line.login:
            text = f"{line.login} has the same number as {holder.login} in line {holder.number}"
            problems.append(Problem(file, f"line {line.number}", text))
        elsewhere = holders.get(line.phone or "", line.login)
        if elsewhere != line.login and elsewhere not in named and line is first:
            text = f"{line.login} has the same number as {elsewhere}, who is there already"
            problems.append(Problem(file, f"line {line.number}", text))
    return problems


def person_of(line: Line) -> tuple[str | None, ...]:
    """What a line says of the person."""
    return line.name, line.phone, line.language, line.role, line.area


def _absences(session: Session, file: str, lines: Iterable[Line], people: set[str]) -> list[Problem]:
    """Substitutes that nobody knows or who stand in for themselves, and absences of one person that overlap."""
    rows = session.execute(
        select(Person.login, Absence.starts_at, Absence.ends_at).join(Person, Person.id == Absence.person_id)
    )
    away: dict[str, dict[datetime, datetime]] = {}
    for login, starts_at, ends_at in rows:
        away.setdefault(login, {})[starts_at] = ends_at
    lines = list(lines)
    known = people | {line.login for line in lines}
    problems = []
    for line in lines:
        fault = None
        if line.substitute and line.post != AWAY:
            fault = f"a substitute stands in for who is {AWAY!r}: the post here is {line.post or 'empty'}"
        elif line.substitute and line.substitute not in known:
            fault = f"the substitute {line.substitute!r} is nobody here"
        elif line.substitute == line.login:
            fault = f"{line.login} cannot stand in for themselves"
        elif line.post == AWAY:
            assert line.starts_at
            assert line.ends_at
            mine = away.setdefault(line.login, {})
            if any(s < line.ends_at and e > line.starts_at for s, e in mine.items() if s != line.starts_at):
                fault = f"{line.login} is away already in a part of that time"
            mine[line.starts_at] = line.ends_at
        if fault:
            problems.append(Problem(file, f"line {line.number}", fault))
    return problems


def _two_owners(session: Session, file: str, lines: Iterable[Line]) -> list[Problem]:
    """Open-ended second owners of one division."""
    rows = session.execute(
        select(Duty.division_code, Person.login)
        .join(Person)
        .where(
            Duty.post == "owner",
            Duty.starts_at.is_(None),
            Duty.ends_at.is_(None),
            Duty.days.is_(None),
            Duty.hours.is_(None),
        )
    )
    owners: dict[str, str] = {division: login for division, login in rows}
    problems = []
    for line in lines:
        if line.post != "owner" or line.starts_at or line.days or line.hours:
            continue
        if line.ends_at:
            if owners.get(line.division) == line.login:
                del owners[line.division]
        elif owners.setdefault(line.division, line.login) != line.login:
            text = f"{line.division} has an owner without end, {owners[line.division]}: end that duty first"
            problems.append(Problem(file, f"line {line.number}", text))
    return problems
