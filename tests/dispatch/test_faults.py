# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera that sees nothing reaches the county's duty: once, when it has lasted, and once when it is over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import delete, select

from dispatch.expand import Expander
from dispatch.faults import FaultTeller
from dispatch.reach import VOICE_WAIT, Reach
from dispatch.sender import Dispatcher
from dispatch.texts import CAUSES, Facts, room, sms
from server.domain.place import move
from server.engine.intake import Intake
from server.models import Camera, Duty, HealthFault, Notice, Person
from server.services import health, outcomes
from tests.dispatch.helpers import ZONE, Pigeon, WorldClock, expand
from tests.support.world import CAMERA, CITY, COUNTY, World


@dataclass
class Watch:
    """The engine's and the dispatcher's parts over the small region, and what the people were told."""

    world: World

    def __post_init__(self) -> None:
        clock = WorldClock(self.world)
        self._desk = Intake(self.world.database, clock, self.world.evidence, lambda _topic, _payload: None)
        reach = Reach(("mqtt", "sms", "voice"))
        self._teller = FaultTeller(self.world.database, clock, reach, ZONE)

    def lives(self, minutes: float, states: dict[str, str] | None) -> list[tuple[str, str, str]]:
        """The box speaks each half minute (None: it is silent); who was told meanwhile, by which channel, and what."""
        before = len(self._told())
        for _ in range(round(2 * minutes)):
            self.world.advance(seconds=30)
            if states is not None:
                self._say(states)
            with self.world.database.write() as session:
                health.watch(session, self.world.now)
            self._teller.step()
        return self._told()[before:]

    def _say(self, states: dict[str, str]) -> None:
        at = self.world.now.isoformat()
        cameras = {name: {"state": state, "last_frame_at": at, "reason": None} for name, state in states.items()}
        status: dict[str, Any] = {"v": 1, "online": True, "at": at, "cameras": cameras}
        self._desk.handle("straw1530/v1/edge/edge-1/status", json.dumps(status).encode())

    def _told(self) -> list[tuple[str, str, str]]:
        with self.world.database.read() as session:
            rows = session.scalars(select(Notice).order_by(Notice.created_at, Notice.channel))
            return [(row.person.login, row.channel, row.payload["text"]) for row in rows]


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def watch(world: World) -> Watch:
    return Watch(world)


def test_a_blind_camera_is_told_once_and_once_more_when_it_is_well(watch: Watch) -> None:
    """Ten minutes, then one notice by each channel but the telephone; two minutes well, then one more."""
    assert watch.lives(3, {"tower-1": "ok"}) == []
    assert watch.lives(9.5, {"tower-1": "stream_down"}) == []
    told = watch.lives(30, {"tower-1": "stream_down"})
    assert [(login, channel) for login, channel, _ in told] == [("county", "mqtt"), ("county", "sms")]
    assert "石梁高点 摄像机无画面" in told[0][2]
    assert "已10分钟无法监看" in told[0][2]
    assert watch.lives(1.5, {"tower-1": "ok"}) == []
    well = watch.lives(30, {"tower-1": "ok"})
    assert [(login, channel) for login, channel, _ in well] == [("county", "mqtt"), ("county", "sms")]
    assert "石梁高点 已于" in well[0][2]


@SQLITE
def test_a_short_fault_is_not_told(watch: Watch) -> None:
    """Nine minutes blind and well again: nobody hears of it."""
    watch.lives(1, {"tower-1": "ok"})
    assert watch.lives(9, {"tower-1": "blurred"}) == []
    assert watch.lives(30, {"tower-1": "ok"}) == []


@SQLITE
def test_what_comes_and_goes_is_one_fault(watch: Watch) -> None:
    """A stream that is there for a minute now and then is told once, and not as well in between."""
    watch.lives(1, {"tower-1": "ok"})
    told = []
    for _ in range(8):
        told += watch.lives(4, {"tower-1": "stream_down"})
        told += watch.lives(1, {"tower-1": "ok"})
        told += watch.lives(1, {"tower-1": "frozen"})
    assert len(told) == 2


@SQLITE
def test_what_is_no_fault_is_not_told(watch: Watch) -> None:
    """A start, somebody's hand, another size, a plan that is too slow."""
    for state in ("starting", "manual", "resized", "slow"):
        assert watch.lives(15, {"tower-1": state}) == []


@SQLITE
def test_a_camera_that_is_dark_at_night_is_as_it_should_be(watch: Watch, world: World) -> None:
    """Told by day, by the sun at its place."""
    watch.lives(1, {"tower-1": "ok"})
    hour = (world.now.hour + world.now.minute / 60 + 118.8 / 15) % 24
    world.advance(minutes=((23 - hour) % 24) * 60)
    assert watch.lives(30, {"tower-1": "dark"}) == []
    world.advance(minutes=8.5 * 60)
    told = watch.lives(20, {"tower-1": "dark"})
    assert len(told) == 2
    assert "画面全黑" in told[0][2]


def test_a_silent_box_is_told_for_all_its_cameras(watch: Watch, world: World) -> None:
    """One notice of the box and none of its cameras, also when one was blind before; then that it is back."""
    with world.database.write() as session:
        place = {"lat": 28.9, "lon": 118.8, "height_m": 30, "pan": 0, "tilt": -1, "hfov": 40}
        session.add(Camera(id="tower-2", edge_id="edge-1", county_code=COUNTY, name="二号", **place))
    watch.lives(1, {"tower-1": "ok", "tower-2": "ok"})
    watch.lives(5, {"tower-1": "ok", "tower-2": "moved"})
    told = watch.lives(40, None)
    assert [(login, channel) for login, channel, _ in told] == [("county", "mqtt"), ("county", "sms")]
    assert "石梁塔 边缘盒子离线" in told[0][2]
    well = watch.lives(30, {"tower-1": "ok", "tower-2": "ok"})
    assert len(well) == 2
    assert "石梁塔 已于" in well[0][2]


@SQLITE
def test_nobody_on_duty_is_asked_again_later(watch: Watch, world: World) -> None:
    """The city's duty stands in for an empty county; where that is empty too, the fault waits for somebody."""
    with world.database.write() as session:
        session.execute(delete(Duty).where(Duty.division_code == COUNTY, Duty.post == "duty"))
    watch.lives(1, {"tower-1": "ok"})
    told = watch.lives(12, {"tower-1": "covered"})
    assert {login for login, _, _ in told} == {"city"}
    with world.database.write() as session:
        session.execute(delete(Duty).where(Duty.post == "duty"))
    assert watch.lives(10, {"tower-1": "ok"}) == []
    with world.database.write() as session:
        city = session.scalars(select(Person).where(Person.login == "city")).one()
        session.add(Duty(division_code=CITY, person_id=city.id, post="duty"))
    assert len(watch.lives(1, {"tower-1": "ok"})) == 2


@SQLITE
def test_a_text_about_a_camera_that_fails_makes_no_telephone_ring(watch: Watch, world: World) -> None:
    """The call about a fire, to the same person, goes on waiting for a receipt of its own."""
    watch.lives(1, {"tower-1": "ok"})
    watch.lives(11, {"tower-1": "frozen"})
    world.sighting(at=move(*CAMERA, 250.0, 60_000.0))  # outside the region: for the county's duty
    expand(world, ["mqtt", "voice"])
    with world.database.write() as session:
        text = session.scalars(select(Notice).where(Notice.fault_id.is_not(None), Notice.channel == "sms")).one()
        outcomes.record_failed(session, text.id, "no such number", world.now)
        call = session.scalars(select(Notice).where(Notice.channel == "voice")).one()
        assert call.person_id == text.person_id
        assert call.next_at == world.now + VOICE_WAIT


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("what", ["fault", "well"])
def test_texts_fit_one_segment(language: str, what: str) -> None:
    """Whatever the cause, with a long name."""
    for cause in CAUSES[language].values():
        name = "柯城区石梁镇高山瞭望塔一号摄像机" if language == "zh" else "Shiliang town, hill tower, camera one, west"
        facts = Facts("G1", what, what, (name,), "17:30", 1430, 0, lead=cause)
        text = sms(language, facts)
        assert room(text) >= 0
        assert cause in text


@SQLITE
def test_the_notice_goes_out_and_asks_for_nothing(watch: Watch, world: World) -> None:
    """Through the dispatcher as it is: no incident, no deadline, and its receipt is taken."""
    watch.lives(1, {"tower-1": "ok"})
    watch.lives(11, {"tower-1": "frozen"})
    pigeon = Pigeon()
    with Dispatcher(world.database, WorldClock(world), Expander(["mqtt"], ZONE), [pigeon]) as dispatcher:
        dispatcher.step()
        dispatcher.settle()
    [carried] = pigeon.carried
    assert (carried.payload["kind"], carried.payload["incident"], carried.payload["accept_by"]) == ("fault", None, None)
    with world.database.read() as session:
        fault = session.scalars(select(HealthFault)).one()
        notice = session.scalars(select(Notice).where(Notice.channel == "mqtt")).one()
        assert (notice.state, notice.fault_id) == ("sent", fault.id)
