# SPDX-License-Identifier: AGPL-3.0-or-later
"""Preflight where supervisors see it: the day's look is kept, the console warns, each sees their own area."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, update

from server.models import Person, Preflight
from server.queries import preflight
from server.queries.preflight import Gap
from server.services import preflights
from tests.support.world import FAR_VILLAGE, NEIGHBOUR, World
from tests.web.conftest import Site

ZONE = ZoneInfo("Asia/Shanghai")


def look(world: World) -> list[Gap]:
    """The dispatcher's look, kept."""
    with world.database.write() as session:
        channels = preflight.known_channels(session)
        found = preflight.look(session, world.now, channels, zone=ZONE, country="CN")
        preflights.keep(session, world.now, channels, found)
        return [Gap.from_data(one) for one in found]


def test_the_look_is_due_once_a_day_at_seven(world: World) -> None:
    """At the first start, then every morning; a second dispatcher finds it done."""

    def due(at: str) -> bool:
        with world.database.read() as session:
            return preflights.is_due(session, datetime.fromisoformat(at).replace(tzinfo=ZONE), ZONE)

    assert due("2026-10-08 03:00")
    look(world)  # at 17:00
    assert not due("2026-10-08 23:59")
    assert not due("2026-10-09 06:59")
    assert due("2026-10-09 07:00")
    world.advance(minutes=16 * 60)
    look(world)
    assert not due("2026-10-10 06:59")
    assert due("2026-10-12 03:00")


def test_old_looks_are_forgotten(world: World) -> None:
    """A year and a bit is kept."""
    look(world)
    world.now += timedelta(days=401)
    look(world)
    with world.database.read() as session:
        assert session.scalar(select(func.count(Preflight.id))) == 1


def test_the_console_warns_of_gaps_in_the_viewers_area(site: Site) -> None:
    """The city sees both counties' empty posts, each county its own, a worker none."""
    look(site.world)
    city, county = (
        site.login("city").get("/console/preflight").text,
        site.login("county").get("/console/preflight").text,
    )
    assert "远村" in city
    assert "南村" in city
    assert "南村" in county
    assert "远村" not in county
    assert "高家镇" not in county
    assert "副网格员空缺" in county
    assert "岗位有缺" in site.login("county").get("/console").text
    assert site.login("worker-1").get("/console/preflight").headers["Location"] == "/w"


def test_without_a_look_or_with_an_old_one_the_console_says_so(site: Site) -> None:
    """Silence of the check is itself a warning."""
    assert "值守未检查" in site.login("county").get("/console").text
    assert "还没有检查过" in site.login("county").get("/console/preflight").text
    look(site.world)
    assert "值守未检查" not in site.login("county").get("/console").text
    site.world.now += timedelta(hours=37)
    assert "值守未检查" in site.login("county").get("/console").text
    assert "太久了" in site.login("county").get("/console/preflight").text


def test_looking_again_shows_what_was_mended_and_never_a_number(site: Site) -> None:
    """Who cannot be reached is named; telephone numbers are nobody's to read here."""
    with site.world.database.write() as session:
        session.execute(update(Person).where(Person.login == "neighbour").values(phone=None, password_hash=None))
        session.execute(update(Person).where(Person.login == "stranger").values(phone=None, password_hash=None))
    county = site.login("county")
    page = county.submit("/console/preflight")
    assert "联系不上" in page.text
    assert "某3" in page.text
    assert "+86" not in page.text
    with site.world.database.write() as session:
        found = session.scalars(select(Preflight)).one()
        assert {one["division"] for one in found.gaps if one["kind"] == "silent"} == {NEIGHBOUR, FAR_VILLAGE}
        session.execute(update(Person).where(Person.login == "neighbour").values(phone="+8612000000003"))
    assert "联系不上" not in county.submit("/console/preflight").text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_department_looks_and_changes_nothing(site: Site) -> None:
    """It sees the page without the button; the button's request is refused."""
    with site.world.database.write() as session:
        session.execute(update(Person).where(Person.login == "county").values(role="department"))
    visitor = site.login("county")
    assert "现在再查一次" not in visitor.get("/console/preflight").text
    assert visitor.submit("/console/preflight").status_code == 403
