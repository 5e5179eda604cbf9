# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether everybody who would have to be called can be: the gaps, before a fire finds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from server.models import Division, Duty, Person, Preflight, PushSubscription
from server.queries.places import grid_name, village_name
from server.queries.rota import Rota, Stand, holding
from server.queries.viewer import Viewer

# level of the division -> posts that must be held there
NEEDED = {
    "village": ("owner", "deputy"),
    "grid": ("owner", "deputy"),
    "township": ("leader",),
    "county": ("duty",),
    "city": ("duty",),
    "zone": ("owner",),
}
_MOMENT = timedelta(microseconds=1)
# The channels that are set up, by name: the logins that have an address there, or None: whoever has what it takes (a
# number for sms and voice, a password for MQTT and the page, a browser for web push).
Channels = Mapping[str, Collection[str] | None]
_USUAL: Channels = {"mqtt": None, "sms": None}

# No report for so long: nobody looks any more, which is a warning by itself.
STALE = timedelta(hours=36)
_AHEAD = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Gap:
    """A post nobody holds, or whose holders no channel reaches, from ``since`` until ``until`` (None: without end).

    ``kind``: "empty", "silent" (``silent`` are the holders' logins) or "outline": a division without one, and no post.
    """

    division: str
    name: str
    level: str
    post: str
    kind: str
    text: str
    since: datetime | None = None
    until: datetime | None = None
    silent: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.division} {self.name}: {self.text}"

    def to_data(self) -> dict[str, Any]:
        """As plain JSON."""
        # dataclasses.asdict copies deeply, which for a city's thousands of gaps takes a second of everybody's turn.
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        times = {name: moment and moment.isoformat() for name, moment in (("since", self.since), ("until", self.until))}
        return plain | times | {"silent": list(self.silent)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Gap:
        """What ``to_data`` wrote."""
        times = {name: data[name] and datetime.fromisoformat(data[name]) for name in ("since", "until")}
        return cls(**{**data, **times, "silent": tuple(data["silent"])})


@dataclass(frozen=True, slots=True)
class Report:
    """The last look, as somebody may see it: ``gaps`` of their area by county and township (names), and ``people``: the
    names of those no channel reaches, by login."""

    at: datetime
    channels: tuple[str, ...]
    number: int
    gaps: dict[str, dict[str, list[Gap]]]
    people: dict[str, str]


def look(session: Session, now: datetime, channels: Channels, *, zone: ZoneInfo, country: str) -> list[dict[str, Any]]:
    """The daily look at every post: the next seven days' gaps as plain data, to be kept."""
    found = gaps(session, now, zone=zone, country=country, ahead=_AHEAD, channels=channels)
    return [gap.to_data() for gap in found]


def latest(session: Session) -> Preflight | None:
    """The newest stored look."""
    return session.scalars(select(Preflight).order_by(Preflight.at.desc(), Preflight.id.desc()).limit(1)).first()


def known_channels(session: Session) -> Channels:
    """Those that the dispatcher had at the newest look; MQTT and SMS before the first."""
    found = latest(session)
    if found is None:
        return _USUAL
    there: Channels | list[str] = found.channels
    return dict.fromkeys(there) if isinstance(there, list) else there  # before, the names alone were kept


def count(session: Session, viewer: Viewer, now: datetime) -> int | None:
    """How many gaps the newest look found in the viewer's area; None when there is none, or an old one."""
    found = latest(session)
    if found is None or now - found.at > STALE:
        return None
    return sum(str(one["division"]).startswith(viewer.area_prefix) for one in found.gaps)


def report(session: Session, viewer: Viewer) -> Report | None:
    """The newest look with the gaps of the viewer's area; None before the first."""
    found = latest(session)
    if found is None:
        return None
    seen = [
        replace(Gap.from_data(one), name=village_name(one["name"]))
        for one in found.gaps
        if one["division"].startswith(viewer.area_prefix)
    ]
    grouped: dict[str, dict[str, list[Gap]]] = {}
    names = _above(session)
    for gap in seen:
        county, township = names.get(gap.division, ("", ""))
        grouped.setdefault(county, {}).setdefault(township, []).append(gap)
    logins = {login for gap in seen for login in gap.silent}
    people: dict[str, str] = {
        login: name
        for login, name in session.execute(select(Person.login, Person.name).where(Person.login.in_(logins)))
    }
    return Report(found.at, tuple(found.channels), len(seen), grouped, people)


def _above(session: Session) -> dict[str, tuple[str, str]]:
    """The names of the county and the township of every division; empty for what lies above them."""
    rows = session.execute(select(Division.code, Division.name, Division.level, Division.parent_code)).all()
    known = {row.code: row for row in rows}

    def of(code: str, level: str) -> str:
        row = known.get(code)
        while row is not None and row.level != level:
            row = known.get(row.parent_code or "")
        return row.name if row is not None else ""

    return {code: (of(code, "county"), of(code, "township")) for code in known}


def gaps(
    session: Session,
    now: datetime,
    *,
    zone: ZoneInfo,
    country: str = "CN",
    ahead: timedelta = timedelta(),
    channels: Channels = _USUAL,
    prefix: str = "",
) -> list[Gap]:
    """The first gap of every post from ``now`` until ``now + ahead``, by division.

    ``zone`` and ``country``: of the rosters' hours and holidays; ``prefix``: only divisions whose code begins so.
    """
    end = now + ahead
    which = Duty.division_code.startswith(prefix, autoescape=True)
    rota = Rota(session, holding(which), now, end + _MOMENT, zone=zone, country=country)
    reaches = partial(_reaches, channels, frozenset(session.scalars(select(PushSubscription.person_id).distinct())))
    found = []
    for row in session.execute(_divisions(prefix)):
        name = grid_name(row.name, row.above) if row.level == "grid" else row.name
        for post in NEEDED[row.level]:
            hole = _hole(rota.stands(row.code, post), now, end, reaches)
            if hole is not None:
                found.append(
                    Gap(
                        *(row.code, name, row.level, post, "silent" if hole.silent else "empty"),
                        *(_text(post, hole, now, zone), hole.since, hole.until, hole.silent),
                    )
                )
        if row.level in ("village", "grid", "zone") and row.bare:
            text = "has no outline: no position will ever find it"
            found.append(Gap(row.code, name, row.level, "", "outline", text))
    return found


def _divisions(prefix: str) -> Select[str, str, str, bool, str | None]:
    up = aliased(Division)
    return (
        select(
            *(Division.code, Division.name, Division.level),
            *(Division.geometry.is_(None).label("bare"), up.name.label("above")),
        )
        .outerjoin(up, up.code == Division.parent_code)
        .where(Division.code.startswith(prefix, autoescape=True))
        .order_by(Division.code)
    )


@dataclass(frozen=True, slots=True)
class _Hole:
    """When nobody can be called, and the logins of those who hold the post and cannot be."""

    since: datetime
    until: datetime | None
    silent: tuple[str, ...] = ()


def _hole(stands: Sequence[Stand], now: datetime, end: datetime, reaches: Callable[[Person], bool]) -> _Hole | None:
    for there in (stands, [stand for stand in _counting(stands) if reaches(stand.person)]):
        hole = _first_hole([(stand.since, stand.until) for stand in there], now, end)
        if hole is not None:
            silent = {stand.person.login for stand in stands} if there is not stands else set()
            return _Hole(*hole, tuple(sorted(silent - {stand.person.login for stand in there})))
    return None


def _counting(stands: Sequence[Stand]) -> Iterator[Stand]:
    """Who would be called: in the time of a shift no standing duty counts."""
    shifts = sorted((stand.since, stand.until) for stand in stands if stand.shift)
    for stand in stands:
        reached = stand.since
        for since, until in () if stand.shift else shifts:
            if reached < min(since, stand.until):
                yield replace(stand, since=reached, until=min(since, stand.until))
            reached = max(reached, until)
        if reached < stand.until:
            yield replace(stand, since=reached)


def _text(post: str, hole: _Hole, now: datetime, zone: ZoneInfo) -> str:
    when = ""
    if hole.since != now or hole.until is not None:
        when = f" from {_hour(hole.since, zone)} until {_hour(hole.until, zone)}"
    if hole.silent:
        who = ", ".join(hole.silent)
        return f"no channel that is set up reaches the {post} ({who}){when}: give them a phone number or a password"
    return f"nobody is {post}{when}: import one with `straw1530 admin people import`"


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


def _hour(moment: datetime | None, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="minutes") if moment else "further notice"


def _reaches(channels: Channels, browsers: Collection[int], person: Person) -> bool:
    """Whether any of the channels leads to somebody. ``browsers``: who has asked for web push in one."""
    has = {
        **dict.fromkeys(("sms", "voice"), person.phone is not None),
        "mqtt": person.password_hash is not None,
        "webpush": person.id in browsers,
    }
    return any(has.get(name, False) if logins is None else person.login in logins for name, logins in channels.items())
