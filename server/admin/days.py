# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 admin calendar``: the days that the city or a county declares working days or days of rest."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.tables import Problem, Refused, iso, read_table
from server.db import Database
from server.domain.errors import Invalid, Missing
from server.models import CalendarDay, Division
from server.models.roster import DAY_KINDS
from server.queries.rota import calendar
from server.settings import read_settings

_COLUMNS = ("day", "kind", "name", "division")


def import_days(session: Session, path: Path) -> int:
    """Write a table of days (CSV or Excel: day, kind, name, division); a day that is there is replaced. Returns how
    many there were; the caller commits. Raises Refused with every fault."""
    levels: dict[str, str] = {code: level for code, level in session.execute(select(Division.code, Division.level))}
    problems: list[Problem] = []
    seen: set[tuple[str, date]] = set()
    for number, values in read_table(path, _COLUMNS):
        try:
            found = _check(values, levels)
            if (found.division_code, found.day) in seen:
                raise Invalid(f"{found.day} is there twice for {found.division_code}: remove one")
            seen.add((found.division_code, found.day))
            session.merge(found)
        except Invalid as error:
            problems.append(Problem(path.name, f"line {number}", str(error)))
    if problems:
        raise Refused(problems)
    session.flush()
    return len(seen)


def _check(values: Mapping[str, str], levels: Mapping[str, str]) -> CalendarDay:
    try:
        day = date.fromisoformat(iso(values["day"]).split(" ")[0])
    except ValueError:
        raise Invalid(f"the day {values['day']!r} is none: write 2027-10-09") from None
    if values["kind"] not in DAY_KINDS:
        raise Invalid(f"the kind is work or rest, not {values['kind']!r}")
    if levels.get(values["division"]) not in ("city", "county"):
        raise Invalid(f"the division {values['division']!r} is no county and no city of the region")
    return CalendarDay(division_code=values["division"], day=day, kind=values["kind"], name=values["name"])


def run_import(args: argparse.Namespace, database: Database) -> int:
    """Import a table of days: they precede the country's calendar."""
    with database.write() as session:
        number = import_days(session, args.file)
    print(f"{number} days written")
    return 0


def run_show(args: argparse.Namespace, database: Database) -> int:
    """Print a year's days of rest from Monday to Friday, and its working weekends."""
    with database.read() as session:
        if session.get(Division, args.division) is None:
            raise Missing(f"there is no division {args.division!r}")
        days = calendar(session, read_settings().country)
        names = {row.day: row.name for row in session.scalars(select(CalendarDay))}
    day = date(args.year, 1, 1)
    while day.year == args.year:
        works = days.works(args.division, day)
        if works != (day.isoweekday() <= 5):
            print(f"{day} {day:%a} {'work' if works else 'rest'} {names.get(day, '')}".rstrip())
        day += timedelta(days=1)
    return 0


def add_commands(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``import`` and ``show`` to the parser of ``admin calendar``."""
    command = group.add_parser("import", help=run_import.__doc__, description=run_import.__doc__)
    command.set_defaults(run=run_import)
    command.add_argument("file", type=Path, help=f"CSV or Excel: {', '.join(_COLUMNS)}; kind is work or rest")
    command = group.add_parser("show", help=run_show.__doc__, description=run_show.__doc__)
    command.set_defaults(run=run_show)
    command.add_argument("division", help="code of a county or the city")
    command.add_argument("year", type=int)
