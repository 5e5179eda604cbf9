# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drills: marked tests along the real path, in nobody's record."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dispatch import drill
from dispatch.channels import Never
from dispatch.expand import Expander
from dispatch.reach import Reach
from dispatch.sender import Dispatcher
from server.domain.errors import Invalid, Missing
from server.models import Absence, Duty, JournalEntry, Notice, Person
from server.services import outcomes
from tests.dispatch.helpers import ZONE, Pigeon, WorldClock
from tests.dispatch.test_mqtt import phone
from tests.dispatch.test_process import environment, process, wait_until
from tests.dispatch.test_sms import peer
from tests.support.brokers import RunningBroker
from tests.support.world import CITY, TOWNSHIP, VILLAGE, World


def begin(world: World, *logins: str, channels: tuple[str, ...] = ("mqtt", "sms")) -> int:
    """A drill to these people."""
    with world.database.write() as session:
        people = drill.choose(session, world.now, logins=logins, area="", post=None, zone=ZONE)
        return drill.begin(session, people, Reach(channels), ZONE, world.now)


def receipt(world: World, login: str, channel: str) -> None:
    """The receipt of somebody's notice by this channel."""
    with world.database.write() as session:
        notice = session.scalars(
            select(Notice).join(Person).where(Person.login == login, Notice.channel == channel)
        ).one()
        outcomes.record_delivered(session, notice, world.now)


def test_a_drill_reports_who_was_reached_by_what_and_how_fast(world: World) -> None:
    """Two people, two channels: one answers by MQTT in three seconds, the other's number is wrong."""
    mqtt, sms = Pigeon("mqtt"), Pigeon("sms", outcomes=[Never("no such number")], parallel=1)
    number = begin(world, "worker-2", "leader")
    with Dispatcher(world.database, WorldClock(world), Expander(["mqtt", "sms"], ZONE), [mqtt, sms]) as running:
        running.step()
        running.settle()
    world.now += timedelta(seconds=3)
    receipt(world, "leader", "mqtt")
    with world.database.read() as session:
        figures = drill.report(drill.results(session, number))
    assert (figures["people"], figures["reached"], figures["unreached"]) == (2, 1, ["worker-2"])
    assert figures["channels"]["mqtt"] == {"told": 2, "reached": 1, "median_s": 3.0, "worst_s": 3.0}
    assert figures["channels"]["sms"]["reached"] == 0
    assert [notice["error"] for notice in figures["notices"] if notice["state"] == "failed"] == ["no such number"]


def test_a_drill_is_marked_and_touches_no_incident(world: World) -> None:
    """Everything sent says so, and the journal knows nothing of it."""
    mqtt, sms = Pigeon("mqtt"), Pigeon("sms")
    begin(world, "worker-1", "worker-2")
    with Dispatcher(world.database, WorldClock(world), Expander(["mqtt", "sms"], ZONE), [mqtt, sms]) as running:
        running.step()
        running.settle()
    payloads = [notice.payload for notice in mqtt.carried + sms.carried]
    assert len(payloads) == 4
    assert all(payload["drill"] and payload["incident"] is None for payload in payloads)
    assert {"演练" in payload["text"] or "DRILL" in payload["text"] for payload in payloads} == {True}
    with world.database.read() as session:
        assert session.scalar(select(func.count(JournalEntry.id))) == 0


def test_an_area_means_everybody_on_duty_there_or_one_post(world: World) -> None:
    """A township with its villages; only their owners."""
    with world.database.read() as session:
        found = drill.choose(session, world.now, logins=[], area=TOWNSHIP, post=None, zone=ZONE)
        assert {person.login for person in found} == {"worker-1", "worker-2", "neighbour", "leader"}
        owners = drill.choose(session, world.now, logins=["city"], area=VILLAGE, post="owner", zone=ZONE)
        assert [person.login for person in owners] == ["city", "worker-1"]


def test_a_drill_calls_whom_a_fire_would_call(world: World) -> None:
    """Neither who is off at this hour nor who is away, but who stands in; and a city's code means all of it."""
    with world.database.write() as session:
        night = session.scalars(select(Duty).where(Duty.person_id == world.people["neighbour"])).one()
        night.hours = "22:00-06:00"  # it is 17:00
        session.add(
            Absence(
                person_id=world.people["worker-1"],
                substitute_id=world.people["stranger"],
                starts_at=world.now - timedelta(days=1),
                ends_at=world.now + timedelta(days=1),
            )
        )
    with world.database.read() as session:
        owners = drill.choose(session, world.now, logins=[], area=TOWNSHIP, post="owner", zone=ZONE)
        assert {person.login for person in owners} == {"stranger"}
        everybody = drill.choose(session, world.now, logins=[], area=CITY, post=None, zone=ZONE)
        assert {"city", "county", "other-county", "leader", "worker-2", "stranger"} == {one.login for one in everybody}


def test_a_drill_to_nobody_is_refused(world: World) -> None:
    """An unknown login, an area without people, a channel that leads to none of them."""
    with world.database.read() as session:
        with pytest.raises(Missing, match="nobody-of-that-name"):
            drill.choose(session, world.now, logins=["nobody-of-that-name"], area="", post=None, zone=ZONE)
        with pytest.raises(Invalid, match="nobody was chosen"):
            drill.choose(session, world.now, logins=[], area="99", post=None, zone=ZONE)
    with world.database.write() as session:
        session.get_one(Person, world.people["worker-1"]).phone = None
    with pytest.raises(Invalid, match="leads to anybody"):
        begin(world, "worker-1", channels=("sms",))


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_the_command_runs_a_drill_through_the_running_dispatcher(
    world: World,
    broker: RunningBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`straw1530 drill` with a real dispatcher, broker and provider: told, not yet reached, status 1."""
    with phone(broker, "worker-1") as received, peer() as (account, url):
        env = environment(world, broker, url)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with process(env):
            assert drill.main(["--to", "worker-1", "--wait", "2", "--json", str(tmp_path / "drill.json")]) == 1
            assert received.get(timeout=60)["drill"] is True
            wait_until(lambda: bool(account.messages))
        assert "演练" in account.messages[0].body
    assert "0 of 1 people reached" in capsys.readouterr().out
    written = json.loads((tmp_path / "drill.json").read_text())
    assert written["unreached"] == ["worker-1"]
    assert drill.main(["--to", "worker-1", "--channels", "pigeon"]) == 1
    assert "none of the channels pigeon is set up" in capsys.readouterr().err
