# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 drill``: send a marked test along the real path (the running dispatcher, the real channels, the phones'
own receipts) to chosen people, and report who could be reached, by which channel, how fast."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from dispatch import message
from dispatch.cli import channel_names, listed
from dispatch.reach import Reach
from dispatch.roster import Roster
from dispatch.settings import read_dispatch_settings
from dispatch.texts import Facts
from server.admin.schema import require_current
from server.db import Clock, Database, DatabaseClock
from server.domain.errors import DomainError, Invalid, Missing
from server.models import Division, Duty, Notice, Person
from server.models.region import POSTS
from server.services import notices
from server.services.notices import Draft
from server.settings import SettingsError
from server.wake import Sleeper

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one notice. Seconds from the drill's beginning; None: not yet."""

    login: str
    channel: str
    state: str
    sent_s: float | None
    delivered_s: float | None
    error: str | None


def choose(
    session: Session,
    now: datetime,
    *,
    logins: Sequence[str],
    area: str,
    post: str | None,
    zone: ZoneInfo,
    country: str = "CN",
) -> list[Person]:
    """The people named, and those on duty in a post (any, or this one) in the area now, as a fire would find them.

    ``zone`` and ``country``: of the rosters. Raises Missing or Invalid.
    """
    chosen: dict[int, Person] = {}
    for login in logins:
        person = session.scalar(select(Person).where(Person.login == login, Person.active))
        if person is None:
            raise Missing(f"there is no active person with the login {login!r}")
        chosen[person.id] = person
    if area:
        division = session.get(Division, area)
        within = Duty.division_code.startswith(division.prefix if division else area, autoescape=True)
        posts = session.execute(select(Duty.division_code, Duty.post).where(within).distinct()).all()
        roster = Roster(session, {code for code, _ in posts}, now, zone=zone, country=country)
        there = [one for code, held in posts if post in (None, held) for one in roster.on_duty(code, held)]
        chosen |= {person.id: person for person in sorted(there, key=lambda person: person.login)}
    if not chosen:
        raise Invalid("nobody was chosen: give --to LOGIN or --area CODE of a division with people on duty")
    return list(chosen.values())


def begin(session: Session, people: Iterable[Person], reach: Reach, zone: ZoneInfo, now: datetime) -> int:
    """Write the notices; the caller commits, and the running dispatcher sends them. Returns the drill's number.

    Raises Invalid when no channel leads to any of them.
    """
    local = now.astimezone(zone)
    reach.refresh(session)
    drafts = []
    for person in people:
        # The wait before a call is for fires: a drill tries every channel.
        for channel, _ in reach.of(person):
            facts = Facts(f"{local:%m%d-%H%M}", "drill", "drill", (), f"{local:%H:%M}", 0, 0, drill=True)
            drafts.append(Draft(person, channel, _payload(facts, person.language, channel, now)))
    if not drafts:
        raise Invalid(f"none of the channels {', '.join(reach.channels)} leads to anybody chosen")
    return notices.begin_drill(session, drafts, f"{len({draft.person.id for draft in drafts})} people", now).id


def _payload(facts: Facts, language: str, channel: str, now: datetime) -> dict[str, Any]:
    nothing = ("incident", "lat", "lon", "radius_m", "bearing", "accept_by", "dispose_by", "picture")
    words = message.words(facts, language, channel)
    return words | dict.fromkeys(nothing) | {"rung": "drill", "kind": "drill", "t2": now.isoformat()}


def results(session: Session, drill_id: int) -> list[Result]:
    """What became of a drill's notices so far."""
    rows = session.scalars(select(Notice).where(Notice.drill_id == drill_id).order_by(Notice.person_id, Notice.channel))
    return [
        Result(
            login=row.person.login,
            channel=row.channel,
            state=row.state,
            sent_s=_seconds(row.created_at, row.sent_at),
            delivered_s=_seconds(row.created_at, row.delivered_at),
            error=row.error,
        )
        for row in rows
    ]


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if end is not None else None


def unreached(found: Iterable[Result]) -> list[str]:
    """Who sent no receipt by any channel."""
    by_login: dict[str, bool] = defaultdict(bool)
    for result in found:
        by_login[result.login] |= result.delivered_s is not None
    return [login for login, reached in by_login.items() if not reached]


def wait(database: Database, clock: Clock, drill_id: int, until: datetime) -> list[Result]:
    """Wait until everything is delivered or failed, or the time is up; returns what there is then."""
    with Sleeper(database.url, "drill") as sleeper:
        while True:
            with database.read() as session:
                found, now = results(session, drill_id), clock.now(session)
            if now >= until or all(result.state in ("delivered", "failed", "skipped") for result in found):
                return found
            sleeper.sleep(min(_LOOK_EVERY_S, (until - now).total_seconds()))


def report(found: Sequence[Result]) -> dict[str, Any]:
    """The drill in figures: per channel how many were told, reached, and how fast (median, worst); who was not."""
    channels = {}
    for name in dict.fromkeys(result.channel for result in found):
        times = [result.delivered_s for result in found if result.channel == name and result.delivered_s is not None]
        channels[name] = {
            "told": sum(result.channel == name for result in found),
            "reached": len(times),
            "median_s": statistics.median_low(times) if times else None,
            "worst_s": max(times, default=None),
        }
    people = {result.login for result in found}
    missed = unreached(found)
    return {
        "people": len(people),
        "reached": len(people) - len(missed),
        "channels": channels,
        "unreached": missed,
        "notices": [asdict(result) for result in found],
    }


def _print(figures: dict[str, Any]) -> None:
    print(f"{figures['reached']} of {figures['people']} people reached")  # noqa: T201 - a command's answer
    for name, channel in figures["channels"].items():
        fast = f", median {channel['median_s']} s, worst {channel['worst_s']} s" if channel["reached"] else ""
        print(f"  {name}: {channel['reached']} of {channel['told']}{fast}")  # noqa: T201
    for login in figures["unreached"]:
        reasons = [f"{n['channel']} {n['error'] or n['state']}" for n in figures["notices"] if n["login"] == login]
        print(f"  not reached: {login} ({'; '.join(reasons)})")  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="straw1530 drill", description=__doc__)
    parser.add_argument("--to", action="append", default=[], metavar="LOGIN", help="somebody; may be given again")
    parser.add_argument("--area", default="", metavar="CODE", help="everybody on duty in a division and below it")
    parser.add_argument("--post", choices=POSTS, help="with --area: only the holders of this post")
    parser.add_argument("--channels", default="mqtt,sms", help="which to try (default %(default)s; also voice)")
    parser.add_argument("--wait", type=float, default=120, metavar="S", help="for receipts (default %(default)s s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report to a file")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one drill; 0 when everybody was reached, 1 when not or when it was refused."""
    args = _parser().parse_args(argv)
    try:
        settings = read_dispatch_settings()
        known = channel_names(settings)
        channels = [name for name in args.channels.split(",") if name in known]
        if not channels:
            raise Invalid(f"none of the channels {args.channels} is set up here (set up: {', '.join(known) or 'none'})")
        database, clock = Database(settings.server.database_url), DatabaseClock()
        require_current(database)
        with database.write() as session:
            now, server = clock.now(session), settings.server
            people = choose(
                session,
                now,
                logins=args.to,
                area=args.area,
                post=args.post,
                zone=server.zone,
                country=server.country,
            )
            number = begin(session, people, Reach(channels, listed(settings)), server.zone, now)
    except (SettingsError, DomainError) as error:
        sys.stderr.write(f"straw1530 drill: {error}\n")
        return 1
    figures = report(wait(database, clock, number, now + timedelta(seconds=args.wait)))
    database.dispose()
    if args.json:
        args.json.write_text(json.dumps(figures, ensure_ascii=False, indent=1))
    _print(figures)
    return 0 if not figures["unreached"] else 1
