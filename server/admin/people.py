# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importing people and their duties from CSV: every line is checked, then all are written or none.

Columns: ``login, name, phone, language, role, area`` and, for a duty, ``post, division, starts_at, ends_at``
(ISO 8601 with an offset; empty for without end). A login on several lines is one person with several duties; a line
that names a duty which exists sets its end. Lines without a post change the person alone.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.brokerusers import SYSTEM_USERS
from server.admin.phones import to_e164
from server.admin.tables import Problem, Refused, read_csv
from server.domain.errors import Invalid
from server.models import Division, Duty, EdgeBox, Person
from server.models.region import POSTS, ROLES

_COLUMNS = ("login", "name", "phone", "language", "role", "area")
# Also a level of an MQTT topic, so no slash, plus or hash.
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}")
# The level of division at which a post is held; any post may be held at several.
_POST_LEVELS = {"owner": {"village"}, "deputy": {"village"}, "leader": {"township"}, "duty": {"county", "city"}}


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
    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do."""

    people_added: int
    people_changed: int
    duties_added: int
    duties_ended: int


def import_people(session: Session, path: Path) -> Imported:
    """Read, check and write a file; the caller commits, or for a dry run does not. Raises Refused with every fault."""
    levels: dict[str, str] = {code: level for code, level in session.execute(select(Division.code, Division.level))}
    taken = {*SYSTEM_USERS, *session.scalars(select(EdgeBox.id))}
    problems: list[Problem] = []
    lines: list[Line] = []
    for number, values in read_csv(path, _COLUMNS):
        try:
            lines.append(_check(number, values, levels, taken))
        except Invalid as error:
            problems.append(Problem(path.name, f"line {number}", str(error)))
    problems += _contradictions(path.name, lines)
    problems += _two_owners(session, path.name, lines)
    if problems:
        raise Refused(sorted(problems, key=lambda problem: int(problem.where.split()[1])))
    return _write(session, lines)


def _check(number: int, values: dict[str, str], levels: dict[str, str], taken: set[str]) -> Line:
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
    starts_at, ends_at = _instant(values, "starts_at"), _instant(values, "ends_at")
    if starts_at and ends_at and ends_at <= starts_at:
        raise Invalid(f"the duty ends ({ends_at.isoformat()}) before it starts")
    area = values["area"]
    return Line(number, login, values["name"], phone, language, role, area, post, division, starts_at, ends_at)


def _post(values: dict[str, str], levels: dict[str, str]) -> tuple[str | None, str]:
    post, division = values.get("post") or None, values.get("division") or values["area"]
    if post is None:
        return None, division
    if post not in POSTS:
        raise Invalid(f"the post is one of {', '.join(POSTS)}, not {post!r}")
    if division not in levels:
        raise Invalid(f"the division {division!r} is no division of the region")
    if levels[division] not in _POST_LEVELS[post]:
        wanted = " or ".join(sorted(_POST_LEVELS[post]))
        raise Invalid(f"the post {post!r} is held in a {wanted}; {division} is a {levels[division]}")
    return post, division


def _instant(values: dict[str, str], name: str) -> datetime | None:
    text = values.get(name)
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{name} {text!r} is not a time: write 2026-10-01T08:00+08:00") from None
    if instant.tzinfo is None:
        raise Invalid(f"{name} {text!r} has no offset: write {text}+08:00")
    return instant


def _contradictions(file: str, lines: Iterable[Line]) -> list[Problem]:
    """Lines that say different things of one person, or of one number."""
    problems = []
    people: dict[str, Line] = {}
    numbers: dict[str, Line] = {}
    for line in lines:
        first = people.setdefault(line.login, line)
        if _person(first) != _person(line):
            text = f"{line.login} is described otherwise in line {first.number}: make them the same"
            problems.append(Problem(file, f"line {line.number}", text))
        holder = numbers.setdefault(line.phone or line.login, line)
        if holder.login != line.login:
            text = f"{line.login} has the same number as {holder.login} in line {holder.number}"
            problems.append(Problem(file, f"line {line.number}", text))
    return problems


def _person(line: Line) -> tuple[str | None, ...]:
    return line.name, line.phone, line.language, line.role, line.area


def _two_owners(session: Session, file: str, lines: Iterable[Line]) -> list[Problem]:
    """Open-ended second owners of one division."""
    rows = session.execute(
        select(Duty.division_code, Person.login)
        .join(Person)
        .where(Duty.post == "owner", Duty.starts_at.is_(None), Duty.ends_at.is_(None))
    )
    owners: dict[str, str] = {division: login for division, login in rows}
    problems = []
    for line in lines:
        if line.post != "owner" or line.starts_at:
            continue
        if line.ends_at:
            owners.pop(line.division, None)
        elif owners.setdefault(line.division, line.login) != line.login:
            text = f"{line.division} has an owner without end, {owners[line.division]}: end that duty first"
            problems.append(Problem(file, f"line {line.number}", text))
    return problems


def _write(session: Session, lines: list[Line]) -> Imported:
    people = {person.login: person for person in session.scalars(select(Person))}
    added = changed = 0
    for line in {line.login: line for line in lines}.values():
        person = people.get(line.login)
        if person is None:
            people[line.login] = person = Person(login=line.login)
            session.add(person)
            added += 1
        elif _person(line) != (person.name, person.phone, person.language, person.role, person.area_code):
            changed += 1
        person.name, person.phone, person.language, person.role, person.area_code = (
            line.name,
            line.phone,
            line.language,
            line.role,
            line.area,
        )
    session.flush()
    duties_added, duties_ended = _write_duties(session, lines, people)
    return Imported(added, changed, duties_added, duties_ended)


def _write_duties(session: Session, lines: list[Line], people: dict[str, Person]) -> tuple[int, int]:
    duties = {
        (duty.division_code, duty.post, duty.person_id, duty.starts_at): duty for duty in session.scalars(select(Duty))
    }
    added = ended = 0
    for line in lines:
        if line.post is None:
            continue
        key = (line.division, line.post, people[line.login].id, line.starts_at)
        duty = duties.get(key)
        if duty is None:
            duty = Duty(division_code=key[0], post=key[1], person_id=key[2], starts_at=key[3], ends_at=line.ends_at)
            duties[key] = duty
            session.add(duty)
            added += 1
        elif duty.ends_at != line.ends_at:
            duty.ends_at = line.ends_at
            ended += 1
            # Written at once, so that the next owner does not stand beside this one for a moment.
            session.flush()
    session.flush()
    return added, ended


def export_people(session: Session, path: Path) -> int:
    """Write all active people and their duties as a file that ``import_people`` reads; returns the number of lines."""
    duties: dict[int, list[Duty]] = defaultdict(list)
    for duty in session.scalars(select(Duty).order_by(Duty.division_code, Duty.post, Duty.id)):
        duties[duty.person_id].append(duty)
    lines = []
    for person in session.scalars(select(Person).where(Person.active).order_by(Person.login)):
        about = [person.login, person.name, person.phone or "", person.language, person.role, person.area_code]
        lines += [about + _duty_columns(duty) for duty in duties[person.id]] or [about + [""] * 4]
    # With a byte-order mark, so that Excel reads the Chinese names.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([[*_COLUMNS, "post", "division", "starts_at", "ends_at"], *lines])
    return len(lines)


def _duty_columns(duty: Duty) -> list[str]:
    times = [moment.isoformat() if moment else "" for moment in (duty.starts_at, duty.ends_at)]
    return [duty.post, duty.division_code, *times]
