# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo's people, wholly invented: the same ones each time, for every post that preflight asks for.

Logins are ``owner-<village>``, ``deputy-<village>``, ``leader-<township>``, ``duty-<county or city>`` and ``admin``.
Numbers begin with +86 12, which is assigned to nobody. Nobody has a password until one is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from server.models import Division, Duty, Person
from server.queries.preflight import NEEDED

_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜"
_GIVEN = ("建国", "秀英", "志强", "桂花", "永福", "小明", "春兰", "德胜", "美玲", "国平", "水根", "凤仙", "金海")
_MARK = "（虚构）"
_ROLES = {"owner": "worker", "deputy": "worker", "leader": "worker", "duty": "supervisor"}


def add_people(session: Session) -> int:
    """Add the people the demo region lacks; the caller commits. Returns how many were added.

    Needs the region. A second call adds nobody.
    """
    divisions = session.execute(select(Division.code, Division.level).order_by(Division.level, Division.code)).all()
    known = set(session.scalars(select(Person.login)))
    wanted = [(values, post) for values, post in _people(divisions) if values["login"] not in known]
    if not wanted:
        return 0
    session.execute(insert(Person), [values for values, _ in wanted])
    ids: dict[str, int] = {login: number for login, number in session.execute(select(Person.login, Person.id))}
    duties = [
        {"division_code": values["area_code"], "person_id": ids[values["login"]], "post": post}
        for values, post in wanted
        if post is not None
    ]
    session.execute(insert(Duty), duties)
    return len(wanted)


def _people(divisions: Any) -> Iterator[tuple[dict[str, Any], str | None]]:
    number = 0
    for code, level in divisions:
        for post in NEEDED[level]:
            yield _person(number, f"{post}-{code}", code, _ROLES[post]), post
            number += 1
    city = next(code for code, level in divisions if level == "city")
    yield _person(number, "admin", city, "admin"), None


def _person(number: int, login: str, area: str, role: str) -> dict[str, Any]:
    surname, given = _SURNAMES[number % len(_SURNAMES)], _GIVEN[number // len(_SURNAMES) % len(_GIVEN)]
    return {
        "login": login,
        "name": f"{surname}{given}{_MARK}",
        "phone": f"+8612{number:09}",
        "language": "zh",
        "role": role,
        "area_code": area,
        "active": True,
        "session_epoch": 0,
    }
