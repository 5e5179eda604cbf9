# SPDX-License-Identifier: AGPL-3.0-or-later
"""One channel after another, one person after another, within what provider and number will bear."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import delete, select, update

from dispatch.budget import Budget
from dispatch.channels import Never, Outcome, Outgoing, Sent, TryAgain
from dispatch.expand import Expander
from dispatch.reach import VOICE_WAIT
from dispatch.sender import Dispatcher
from server.domain.lifecycle import Event
from server.domain.place import move
from server.models import Duty, Notice, Person
from server.services import outcomes
from tests.dispatch.helpers import ZONE, Pigeon, WorldClock, expand, told
from tests.support.world import CAMERA, FIELD, NEIGHBOUR, VILLAGE, World


@contextmanager
def dispatcher(world: World, *pigeons: Pigeon, budgets: Mapping[str, Budget] | None = None) -> Iterator[Dispatcher]:
    """A dispatcher with these channels."""
    expander = Expander([pigeon.name for pigeon in pigeons], ZONE)
    with Dispatcher(world.database, WorldClock(world), expander, pigeons, budgets) as running:
        yield running


def cycle(running: Dispatcher, times: int = 1) -> None:
    """Do what is due and wait for it."""
    for _ in range(times):
        running.step()
        running.settle()


def delivered(world: World, channel: str) -> None:
    """The receipt of the one notice of this channel comes in."""
    with world.database.write() as session:
        notice = session.scalars(select(Notice).where(Notice.channel == channel)).one()
        outcomes.record_delivered(session, notice, world.now)


def three() -> tuple[Pigeon, Pigeon, Pigeon]:
    """All channels."""
    return Pigeon("mqtt"), Pigeon("sms"), Pigeon("voice")


def test_without_any_receipt_the_telephone_rings(world: World) -> None:
    """MQTT and SMS go at once; after the wait without a receipt the call follows."""
    mqtt, sms, voice = three()
    with dispatcher(world, mqtt, sms, voice) as running:
        world.sighting(at=FIELD)
        cycle(running)
        assert (len(mqtt.carried), len(sms.carried), len(voice.carried)) == (1, 1, 0)
        world.now += VOICE_WAIT
        cycle(running)
    assert [notice.login for notice in voice.carried] == ["worker-1"]


def test_with_a_receipt_the_telephone_stays_silent(world: World) -> None:
    """A delivery by any channel spares the call."""
    mqtt, sms, voice = three()
    with dispatcher(world, mqtt, sms, voice) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        delivered(world, "sms")
        world.now += VOICE_WAIT
        cycle(running)
    assert voice.carried == []
    assert [notice.state for notice in told(world, code, "voice")] == ["skipped"]


def test_once_somebody_accepted_nobody_is_rung_up_to_accept(world: World) -> None:
    """The answer spares the call, too."""
    mqtt, sms, voice = three()
    with dispatcher(world, mqtt, sms, voice) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        world.apply(code, Event.ACCEPT, "worker-1")
        world.now += VOICE_WAIT
        cycle(running)
    assert voice.carried == []


def test_a_text_that_cannot_go_lets_the_telephone_ring_at_once(world: World) -> None:
    """The next channel does not wait for what is lost."""
    mqtt, sms, voice = Pigeon("mqtt"), Pigeon("sms", outcomes=[Never("no such number")]), Pigeon("voice")
    with dispatcher(world, mqtt, sms, voice) as running:
        world.sighting(at=FIELD)
        cycle(running, 2)
    assert [notice.login for notice in voice.carried] == ["worker-1"]


def test_an_undelivered_call_leads_to_the_next_person_up_to_the_city(world: World) -> None:
    """Owner, deputy, township, county, city: each unreached, each once."""
    voice = Pigeon("voice", outcomes=[Never("no such number")] * 9)
    with dispatcher(world, voice) as running:
        code = world.sighting(at=FIELD)
        cycle(running, 8)
    assert [notice.login for notice in voice.carried] == ["worker-1", "worker-2", "leader", "county", "city"]
    assert world.events(code).count("unreached") == 5


def test_a_stand_in_who_is_not_reached_is_not_called_twice(world: World) -> None:
    """The deputy stood in for the owner and was not reached: the township is next."""
    with world.database.write() as session:
        session.execute(delete(Duty).where(Duty.division_code == VILLAGE, Duty.post == "owner"))
    sms = Pigeon("sms", outcomes=[Never("no such number")])
    with dispatcher(world, sms) as running:
        world.sighting(at=FIELD)
        cycle(running, 4)
    assert [notice.login for notice in sms.carried] == ["worker-2", "leader"]


def test_an_empty_deputys_post_does_not_end_the_chain(world: World) -> None:
    """The owner's number is dead and there is no deputy: the township is called at once, too."""
    with world.database.write() as session:
        session.execute(delete(Duty).where(Duty.division_code == VILLAGE, Duty.post == "deputy"))
    sms = Pigeon("sms", outcomes=[Never("no such number")])
    with dispatcher(world, sms) as running:
        world.sighting(at=FIELD)
        cycle(running, 4)
    assert [notice.login for notice in sms.carried] == ["worker-1", "leader"]


def test_whoever_no_channel_leads_to_does_not_end_the_chain(world: World) -> None:
    """An owner without a number, where there are texts alone: the deputy is called at once."""
    with world.database.write() as session:
        session.execute(update(Person).where(Person.login == "worker-1").values(phone=None))
    sms = Pigeon("sms")
    with dispatcher(world, sms) as running:
        world.sighting(at=FIELD)
        cycle(running, 3)
    assert [notice.login for notice in sms.carried] == ["worker-2"]


def test_a_deputy_told_before_the_fire_was_handed_over_stands_in_once_it_is_back(world: World) -> None:
    """What they heard then was of a fire that became another's; the owner's number died meanwhile."""
    sms = Pigeon("sms", parallel=1)
    with dispatcher(world, sms) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        world.advance(minutes=2, seconds=1)
        cycle(running)
        world.apply(code, Event.TRANSFER, "worker-1", to=NEIGHBOUR)
        cycle(running)
        world.apply(code, Event.TRANSFER, "neighbour", to=VILLAGE)
        sms.carried.clear()
        sms.outcomes.append(Never("no such number"))
        cycle(running, 3)
    assert [notice.login for notice in sms.carried] == ["worker-1", "worker-2"]


def test_a_reminder_that_fails_leaves_to_the_ladder_whom_it_has_reached(world: World) -> None:
    """The owner's number is dead and the deputy, reached in the owner's place, has it: the township is not called."""
    sms = Pigeon("sms", parallel=1, outcomes=[Never("no such number"), Sent(), Never("no such number")])
    with dispatcher(world, sms) as running:
        world.sighting(at=FIELD)
        cycle(running, 2)
        world.advance(minutes=2, seconds=1)
        cycle(running, 3)
    assert [notice.login for notice in sms.carried] == ["worker-1", "worker-2", "worker-1", "worker-2"]


def test_an_unplaced_fire_whose_county_is_not_reached_goes_to_the_city(world: World) -> None:
    """There is no village to climb through."""
    sms = Pigeon("sms", outcomes=[Never("no such number")])
    with dispatcher(world, sms) as running:
        world.sighting(at=move(*CAMERA, 250.0, 60_000.0))
        cycle(running, 4)
    assert [notice.login for notice in sms.carried] == ["county", "city"]


# Budgets


def fires(world: World, number: int) -> list[str]:
    """Fires in one village, on bearings of their own; returns their codes."""
    codes = [world.sighting(at=move(*CAMERA, bearing, 1_000)) for bearing in range(0, 30 * number, 30)]
    assert len(set(codes)) == number
    return codes


def test_a_number_gets_no_more_than_its_day_and_first_calls_come_first(world: World) -> None:
    """With two texts a day: a first call, no reminder, a second first call; the telephone takes over what is left."""
    sms, voice = Pigeon("sms"), Pigeon("voice")
    with dispatcher(world, sms, voice, budgets={"sms": Budget(daily=2)}) as running:
        first = world.sighting(at=move(*CAMERA, 0, 1_000))
        cycle(running)
        world.advance(minutes=2, seconds=1)
        cycle(running, 2)
        own = [notice.state for notice in told(world, first, "sms") if notice.login == "worker-1"]
        assert own == ["sent", "failed"]
        assert "worker-1" in [notice.login for notice in voice.carried]
        for bearing, state in ((40, "sent"), (80, "failed")):
            further = world.sighting(at=move(*CAMERA, bearing, 1_000))
            cycle(running)
            assert told(world, further, "sms")[0].state == state
        world.now += timedelta(days=1, seconds=1)
        later = world.sighting(at=move(*CAMERA, 320, 1_000))
        cycle(running)
        assert told(world, later, "sms")[0].state == "sent"


def test_the_providers_pace_is_kept_and_waiting_fires_share_a_text(world: World) -> None:
    """Four fires that wait together go in one text, each on record."""
    sms = Pigeon("sms")
    with dispatcher(world, sms, budgets={"sms": Budget(per_s=4)}) as running:
        codes = fires(world, 4)
        cycle(running)
    assert len(sms.carried) == 1
    text = sms.carried[0].payload["text"]
    assert all(code in text for code in codes)
    assert text.startswith("【秸秆禁烧】4处疑似焚烧")
    assert [told(world, code)[0].state for code in codes] == ["sent"] * 4
    assert [world.events(code).count("sent") for code in codes] == [1] * 4


def test_fires_that_share_a_text_are_one_text_of_the_day(world: World) -> None:
    """Four fires in one text leave the number's second text of the day to the fifth, and none to the sixth."""
    sms = Pigeon("sms")
    with dispatcher(world, sms, budgets={"sms": Budget(daily=2)}) as running:
        together = fires(world, 4)
        cycle(running)
        assert [told(world, code)[0].state for code in together] == ["sent"] * 4
        for bearing, state in ((150, "sent"), (200, "failed")):
            code = world.sighting(at=move(*CAMERA, bearing, 600))
            cycle(running)
            assert told(world, code)[0].state == state
    assert [notice.login for notice in sms.carried].count("worker-1") == 2


def test_beyond_the_pace_the_rest_waits_its_turn(world: World) -> None:
    """Nothing is sent that the provider would reject, and nothing is lost."""
    sms = Pigeon("sms")
    with dispatcher(world, sms, budgets={"sms": Budget(per_s=1)}) as running:
        world.sighting(at=FIELD)
        world.sighting(at=(28.9465, 118.800))
        cycle(running)
        assert len(sms.carried) == 1
        assert 0 < running.step() <= 1
        world.now += timedelta(seconds=1)
        cycle(running)
        assert len(sms.carried) == 2


def test_a_provider_that_fails_a_third_of_the_time_misses_nobody(world: World) -> None:
    """Every person is told once for every step, whatever it takes."""
    chance = random.Random(1530)

    class Flaky(Pigeon):
        def send(self, notice: Outgoing) -> Outcome:
            if chance.random() < 0.3:
                return TryAgain("flaky")
            self.carried.append(notice)
            return Sent()

    sms = Flaky("sms")
    with dispatcher(world, sms) as running:
        codes = [world.sighting(at=FIELD), world.sighting(at=(28.9465, 118.800))]
        for _ in range(40):
            cycle(running)
            world.advance(seconds=20)
    told_once = Counter((notice.login, notice.payload["incident"], notice.payload["text"]) for notice in sms.carried)
    assert set(told_once.values()) == {1}
    with world.database.read() as session:
        written = session.scalars(select(Notice)).all()
    assert len(written) == len(sms.carried) == 9
    assert {notice.state for notice in written} == {"sent"}
    assert {notice.payload["incident"] for notice in sms.carried} == set(codes)


def test_a_needless_notice_is_no_gap_in_the_record(world: World) -> None:
    """Skipping writes nothing to the journal."""
    code = world.sighting(at=FIELD)
    expand(world, ["mqtt", "voice"])
    before = world.events(code)
    with world.database.write() as session:
        notice = session.scalars(select(Notice).where(Notice.channel == "voice")).one()
        outcomes.skip(session, notice, "not needed", world.now)
    assert world.events(code) == before
