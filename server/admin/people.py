# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importing people, their duties and absences: all lines of a checked table or none; and exporting them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.people_lines import AWAY, COLUMNS, DUTY_COLUMNS, Line, person_of, read_people
from server.admin.tables import write_table
from server.models import Absence, Duty, Person


@dataclass(slots=True)
class Imported:
    """What an import did, or would do."""

    people_added: int = 0
    people_changed: int = 0
    duties_added: int = 0
    duties_ended: int = 0
    absences: int = 0


def import_people(session: Session, path: Path, zone: ZoneInfo) -> Imported:
    """Read, check and write a file (CSV or Excel, see ``people_lines``); the caller commits, or for a dry run does not.

    A line that names a duty which exists sets its end; an absence with the same beginning its end and substitute.
    Raises Refused with every fault.
    """
    lines = read_people(session, path, zone)
    done = Imported()
    people = _write_people(session, lines, done)
    _write_duties(session, [line for line in lines if line.post not in (None, AWAY)], people, done)
    _write_absences(session, [line for line in lines if line.post == AWAY], people, done)
    session.flush()
    return done


def _write_people(session: Session, lines: list[Line], done: Imported) -> dict[str, Person]:
    people = {person.login: person for person in session.scalars(select(Person))}
    for line in {line.login: line for line in lines}.values():
        person = people.get(line.login)
        if person is None:
            people[line.login] = person = Person(login=line.login)
            session.add(person)
            done.people_added += 1
        elif person_of(line) != (person.name, person.phone, person.language, person.role, person.area_code):
            done.people_changed += 1
        person.name, person.phone, person.language = line.name, line.phone, line.language
        person.role, person.area_code = line.role, line.area
    session.flush()
    return people


def _write_duties(session: Session, lines: list[Line], people: dict[str, Person], done: Imported) -> None:
    duties = {
        (duty.division_code, duty.post, duty.person_id, duty.starts_at, duty.days, duty.hours): duty
        for duty in session.scalars(select(Duty))
    }
    for line in lines:
        assert line.post is not None
        key = (line.division, line.post, people[line.login].id, line.starts_at, line.days, line.hours)
        duty = duties.get(key)
        if duty is None:
            duties[key] = duty = Duty(
                division_code=line.division,
                post=line.post,
                person_id=people[line.login].id,
                starts_at=line.starts_at,
                ends_at=line.ends_at,
                days=line.days,
                hours=line.hours,
            )
            session.add(duty)
            done.duties_added += 1
        elif duty.ends_at != line.ends_at:
            duty.ends_at = line.ends_at
            done.duties_ended += 1
            # Written at once, so that the next owner does not stand beside this one for a moment.
            session.flush()


def _write_absences(session: Session, lines: list[Line], people: dict[str, Person], done: Imported) -> None:
    known = {(absence.person_id, absence.starts_at): absence for absence in session.scalars(select(Absence))}
    for line in lines:
        assert line.starts_at
        assert line.ends_at
        person_id = people[line.login].id
        substitute_id = people[line.substitute].id if line.substitute else None
        absence = known.get((person_id, line.starts_at))
        if absence is None:
            absence = Absence(person_id=person_id, starts_at=line.starts_at)
            session.add(absence)
        elif (absence.ends_at, absence.substitute_id) == (line.ends_at, substitute_id):
            continue
        absence.ends_at, absence.substitute_id = line.ends_at, substitute_id
        done.absences += 1


def export_people(session: Session, path: Path, zone: ZoneInfo) -> int:
    """Write all active people, their duties and absences as a file that ``import_people`` reads, CSV or Excel by its
    name, times in the region's zone; returns the number of lines. Raises Refused."""
    duties: dict[int, list[list[str]]] = defaultdict(list)
    for duty in session.scalars(select(Duty).order_by(Duty.division_code, Duty.post, Duty.id)):
        times = _times(duty.starts_at, duty.ends_at, zone)
        duties[duty.person_id].append([duty.post, duty.division_code, duty.days or "", duty.hours or "", *times, ""])
    logins: dict[int | None, str] = {
        number: login for number, login in session.execute(select(Person.id, Person.login))
    }
    for absence in session.scalars(select(Absence).order_by(Absence.starts_at)):
        times = _times(absence.starts_at, absence.ends_at, zone)
        duties[absence.person_id].append([AWAY, "", "", "", *times, logins.get(absence.substitute_id, "")])
    lines = list(_lines(session, duties))
    write_table(path, [*COLUMNS, *DUTY_COLUMNS], lines)
    return len(lines)


def _lines(session: Session, duties: dict[int, list[list[str]]]) -> Iterator[list[str]]:
    for person in session.scalars(select(Person).where(Person.active).order_by(Person.login)):
        about = [person.login, person.name, person.phone or "", person.language, person.role, person.area_code]
        for columns in duties[person.id] or [[""] * len(DUTY_COLUMNS)]:
            yield about + columns


def _times(starts_at: datetime | None, ends_at: datetime | None, zone: ZoneInfo) -> list[str]:
    return [moment.astimezone(zone).isoformat() if moment else "" for moment in (starts_at, ends_at)]
