# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is open for each person, kept by the broker for phones that come back; on real brokers with their rules on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import select

from dispatch.board import Board
from server.domain.lifecycle import Event
from server.domain.place import move
from server.models import Duty
from tests.dispatch.helpers import expand
from tests.dispatch.test_process import wait_until
from tests.support.brokers import RunningBroker
from tests.support.world import CAMERA, FIELD, NEIGHBOUR, OTHER_FIELD, World


@contextmanager
def board(world: World, broker: RunningBroker) -> Iterator[Board]:
    """The dispatcher's board, subscribed."""
    opened = Board(world.database, broker.user("dispatch"))
    try:
        assert opened.wait_connected(20)
        yield opened
    finally:
        opened.close()


def glance(broker: RunningBroker, login: str, topic: str | None = None) -> dict[str, Any] | None:
    """Somebody's phone comes back: the retained message it is given on subscribing, None when there is none."""
    user, wanted = broker.user(login), topic or f"straw1530/v1/person/{login}/open"
    kept: list[bytes] = []
    done = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"glance-{login}")
    client.username_pw_set(user.username, user.password)

    def subscribe(*_: Any) -> None:
        client.subscribe(wanted, qos=1)

    def unsubscribe(*_: Any) -> None:
        # A broker takes one after the other: what is retained goes before the answer to this.
        client.unsubscribe(wanted)

    client.on_connect, client.on_subscribe = subscribe, unsubscribe
    client.on_unsubscribe = lambda *_: done.set()
    client.on_message = lambda _client, _data, message: kept.append(bytes(message.payload))
    client.connect(user.host, user.port)
    client.loop_start()
    try:
        assert done.wait(20)
        return json.loads(kept[-1]) if kept and kept[-1] else None
    finally:
        client.disconnect()
        client.loop_stop()


def settle(opened: Board, broker: RunningBroker, login: str, *states: str) -> list[dict[str, Any]]:
    """Step until so many are open for somebody, in these states; returns them as their phone sees them."""
    end = time.monotonic() + 20
    while True:
        opened.step()
        seen = glance(broker, login)
        found: list[dict[str, Any]] = seen["open"] if seen else []
        if [one["state"] for one in found] == list(states):
            return found
        assert time.monotonic() < end, f"open is {found}"


def test_a_phone_that_comes_back_sees_what_is_open_until_it_is_over(world: World, broker: RunningBroker) -> None:
    """The notice as it was sent with the present state and who took it; nothing once nothing is open."""
    with board(world, broker) as opened:
        assert glance(broker, "worker-1") is None
        code = world.sighting(at=FIELD)
        expand(world, ["mqtt"])
        (one,) = settle(opened, broker, "worker-1", "dispatched")
        assert (one["incident"], one["state"], one["taken_by"], one["kind"]) == (code, "dispatched", None, "dispatch")
        assert one["place"] == "柯城区 石梁镇 东村"
        world.apply(code, Event.ACCEPT, "worker-1")
        (one,) = settle(opened, broker, "worker-1", "accepted")
        assert one["taken_by"] == "某1"
        world.apply(code, Event.MARK_FALSE, "county", reason="fog")
        settle(opened, broker, "worker-1")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_whom_the_ladder_calls_sees_it_too_until_it_is_handed_over(world: World, broker: RunningBroker) -> None:
    """The reminder puts it before the deputy, the hand-over takes it from both."""
    with board(world, broker) as opened:
        world.sighting(at=FIELD)
        expand(world, ["mqtt"])
        settle(opened, broker, "worker-1", "dispatched")
        world.advance(minutes=2, seconds=1)
        expand(world, ["mqtt"])
        (one,) = settle(opened, broker, "worker-2", "dispatched")
        assert one["kind"] == "remind"
        world.apply(one["incident"], Event.TRANSFER, "worker-1", to=NEIGHBOUR)
        expand(world, ["mqtt"])
        settle(opened, broker, "worker-1")
        settle(opened, broker, "worker-2")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_nothing_vanishes_while_a_new_board_looks_through_many_fires(world: World, broker: RunningBroker) -> None:
    """A dispatcher that starts goes through what is open part by part, and clears nobody's before it has seen all."""
    with world.database.write() as session:
        owner = session.scalars(select(Duty).where(Duty.division_code == NEIGHBOUR)).one()
        owner.person_id = world.people["worker-2"]
    for bearing in (270, 285, 300, 315, 330, 345, 0, 15, 30, 45, 60, 75):
        world.sighting(at=move(*CAMERA, bearing, 2_000))
    world.sighting(at=OTHER_FIELD)  # the last in line, and the only one of worker-2
    expand(world, ["mqtt"])
    with board(world, broker) as opened:
        settle(opened, broker, "worker-2", "dispatched")
    with board(world, broker) as another:
        wait_until(lambda: "worker-2" in another._held)
        assert another.step(), "one look went through all of it"
        assert glance(broker, "worker-2") is not None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_is_for_nobody_elses_eyes(world: World, broker: RunningBroker) -> None:
    """The access rules keep it from others, by name and by wildcard."""
    with board(world, broker) as opened:
        world.sighting(at=FIELD)
        expand(world, ["mqtt"])
        settle(opened, broker, "worker-1", "dispatched")
        assert glance(broker, "worker-2", "straw1530/v1/person/worker-1/open") is None
        assert glance(broker, "worker-2", "straw1530/v1/person/+/open") is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_broker_that_forgot_is_told_again_and_what_it_kept_too_long_goes(world: World, broker: RunningBroker) -> None:
    """Killed and started empty, it gets what is open; what ended while nobody looked is cleared by the next board."""
    with board(world, broker) as opened:
        code = world.sighting(at=FIELD)
        expand(world, ["mqtt"])
        settle(opened, broker, "worker-1", "dispatched")
        broker.kill()
        broker.start()
        assert [one["incident"] for one in settle(opened, broker, "worker-1", "dispatched")] == [code]
    world.apply(code, Event.MARK_FALSE, "county", reason="fog")
    with board(world, broker) as another:
        settle(another, broker, "worker-1")
