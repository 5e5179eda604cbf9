# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sending: once each, whatever a channel does, and again after a crash."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select

from dispatch.channels import Never, TryAgain
from dispatch.expand import Expander
from dispatch.sender import Dispatcher, backoff
from server.domain.lifecycle import Event
from server.domain.place import move
from server.models import Notice
from server.services import notices, outcomes
from tests.dispatch.helpers import ZONE, Pigeon, WorldClock, expand, told
from tests.support.world import CAMERA, FIELD, World


@contextmanager
def dispatcher(world: World, *pigeons: Pigeon) -> Iterator[Dispatcher]:
    """A dispatcher with these channels."""
    expander = Expander([pigeon.name for pigeon in pigeons], ZONE)
    with Dispatcher(world.database, WorldClock(world), expander, pigeons) as running:
        yield running


def cycle(running: Dispatcher) -> None:
    """Do what is due and wait for it."""
    running.step()
    running.settle()


def states(world: World, code: str) -> dict[str, str]:
    """The state of each notice by channel."""
    return {notice.channel: notice.state for notice in told(world, code)}


def test_one_step_takes_a_sighting_to_the_owners_phone(world: World) -> None:
    """Expanded, claimed, sent and recorded; T3 is stamped."""
    mqtt, sms = Pigeon("mqtt"), Pigeon("sms")
    with dispatcher(world, mqtt, sms) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
    assert states(world, code) == {"mqtt": "sent", "sms": "sent"}
    assert [notice.login for notice in mqtt.carried] == ["worker-1"]
    assert sms.carried[0].phone is not None
    assert world.events(code).count("sent") == 2


def test_a_channel_that_fails_is_tried_again_later_and_not_before(world: World) -> None:
    """A passing fault costs a wait, not the notice."""
    mqtt = Pigeon("mqtt", outcomes=[TryAgain("busy")])
    with dispatcher(world, mqtt) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        cycle(running)
        assert len(mqtt.carried) == 1
        world.now += timedelta(seconds=2)
        cycle(running)
    assert states(world, code) == {"mqtt": "sent"}
    assert mqtt.carried[0].id == mqtt.carried[1].id


def test_a_channel_that_fails_for_ever_is_given_up_on_record(world: World) -> None:
    """After the last attempt the journal says who was not reached and why, and the next person is called."""
    sms = Pigeon("sms", outcomes=[TryAgain("provider away")] * outcomes.MAX_ATTEMPTS)
    with dispatcher(world, sms) as running:
        code = world.sighting(at=FIELD)
        for _ in range(outcomes.MAX_ATTEMPTS + 1):
            cycle(running)
            world.now += timedelta(minutes=5)
    assert [notice.login for notice in sms.carried] == ["worker-1"] * outcomes.MAX_ATTEMPTS + ["worker-2"]
    unreached = [entry for entry in world.journal(code) if entry.event is Event.UNREACHED]
    assert ["provider away" in entry.data["reason"] for entry in unreached] == [True]


def test_what_cannot_go_is_not_tried_again(world: World) -> None:
    """A refused number is recorded once, the other channel goes on, and the next person is called at once: what the
    broker took proves nothing until a phone says so."""
    mqtt, sms = Pigeon("mqtt"), Pigeon("sms", outcomes=[Never("no such number")])
    with dispatcher(world, mqtt, sms) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        cycle(running)
        world.now += timedelta(minutes=10)
        cycle(running)
    assert [(notice.login, notice.channel, notice.state) for notice in told(world, code)] == [
        ("worker-1", "mqtt", "sent"),
        ("worker-1", "sms", "failed"),
        ("worker-2", "mqtt", "sent"),
        ("worker-2", "sms", "sent"),
    ]
    assert [notice.login for notice in sms.carried] == ["worker-1", "worker-2"]
    unreached = [entry for entry in world.journal(code) if entry.event is Event.UNREACHED]
    assert [entry.data["reason"] for entry in unreached] == ["no such number"]


def test_a_slow_channel_holds_up_no_other(world: World) -> None:
    """While every SMS hangs, MQTT notices of a further fire go out."""
    mqtt, sms = Pigeon("mqtt"), Pigeon("sms", parallel=1)
    sms.gate.clear()
    with dispatcher(world, mqtt, sms) as running:
        for number in range(4):
            world.sighting(at=move(*CAMERA, number * 30.0, 1_000), sighting_id=f"s{number}")
        running.step()
        threading.Timer(20, sms.gate.set).start()  # a broken test ends, too
        with world.database.read() as session:
            expected = len(session.scalars(select(Notice.id).where(Notice.channel == "mqtt")).all())
        for _ in range(400):
            if len(mqtt.carried) == expected:
                break
            threading.Event().wait(0.01)
        assert len(mqtt.carried) == expected > 1
        assert sms.carried == []
        sms.gate.set()
        running.settle()


def test_a_channel_that_is_away_costs_its_notices_no_attempt(world: World) -> None:
    """With the broker away for an hour, the notice waits and goes when it is back."""
    mqtt = Pigeon("mqtt", up=False)
    with dispatcher(world, mqtt) as running:
        code = world.sighting(at=FIELD)
        for _ in range(20):
            cycle(running)
            world.now += timedelta(minutes=3)
        assert mqtt.carried == []
        mqtt.up = True
        cycle(running)
    assert states(world, code) == {"mqtt": "sent"}


def test_an_incident_that_is_over_is_not_sent_late(world: World) -> None:
    """A notice that waited until its fire was closed is not sent any more."""
    mqtt = Pigeon("mqtt", up=False)
    with dispatcher(world, mqtt) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        world.apply(code, Event.MARK_FALSE, "county", reason="fog")
        mqtt.up = True
        cycle(running)
    assert mqtt.carried == []
    assert states(world, code) == {"mqtt": "skipped"}


def test_what_a_killed_dispatcher_held_is_sent_by_the_next_one(world: World) -> None:
    """Claimed and never recorded: the lease runs out and the notice goes again under the same id."""
    code = world.sighting(at=FIELD)
    expand(world, ["mqtt"])
    with world.database.write() as session:  # the one that dies here
        held = notices.claim(session, "mqtt", world.now)
    mqtt = Pigeon("mqtt")
    with dispatcher(world, mqtt) as running:
        cycle(running)
        assert mqtt.carried == []
        world.now += notices.LEASE
        cycle(running)
    assert [notice.id for notice in mqtt.carried] == [held[0].id]
    assert states(world, code) == {"mqtt": "sent"}


def test_two_dispatchers_share_the_work_and_send_nothing_twice(world: World) -> None:
    """Any number of replicas: every notice goes once."""
    first, second = Pigeon("mqtt"), Pigeon("mqtt")
    for number in range(8):
        world.sighting(at=move(*CAMERA, number * 25.0, 1_000), sighting_id=f"s{number}")
    with dispatcher(world, first) as one, dispatcher(world, second) as two:
        threads = [threading.Thread(target=cycle, args=(running,), daemon=True) for running in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cycle(one)
    carried = [notice.id for notice in first.carried + second.carried]
    with world.database.read() as session:
        assert sorted(carried) == sorted(session.scalars(select(Notice.id)))


def test_a_channels_own_fault_does_not_lose_the_notice(world: World) -> None:
    """An exception in a channel is a try-again."""

    class Broken(Pigeon):
        def send(self, notice):  # type: ignore[no-untyped-def]
            if not self.carried:
                self.carried.append(notice)
                raise ZeroDivisionError
            return super().send(notice)

    mqtt = Broken("mqtt")
    with dispatcher(world, mqtt) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        world.now += timedelta(seconds=5)
        cycle(running)
    assert states(world, code) == {"mqtt": "sent"}


@pytest.mark.parametrize("channel", ["mqtt", "sms"])
def test_waits_grow_with_a_jitter_up_to_a_limit(channel: str) -> None:
    """Doubling from a first wait, a quarter either way, bounded."""
    waits = [backoff(channel, attempt).total_seconds() for attempt in range(1, 30)]
    assert waits[0] < waits[2] < waits[4]
    assert max(waits) <= 150
    assert len(set(waits)) > 20


def test_the_step_says_when_to_look_again(world: World) -> None:
    """The loop sleeps until the next attempt and no longer."""
    mqtt = Pigeon("mqtt", outcomes=[TryAgain("busy")])
    with dispatcher(world, mqtt) as running:
        world.sighting(at=FIELD)
        cycle(running)
        with world.database.read() as session:
            due = session.scalars(select(Notice.next_at)).one()
        assert running.step() == pytest.approx(min(1.0, (due - world.now).total_seconds()))
