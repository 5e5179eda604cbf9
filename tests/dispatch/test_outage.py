# SPDX-License-Identifier: AGPL-3.0-or-later
"""The broker goes away and comes back, in the middle of everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from dispatch.channels.mqtt import MqttChannel
from dispatch.expand import Expander
from dispatch.sender import Dispatcher
from server.domain.place import move
from tests.dispatch.helpers import ZONE, Pigeon, WorldClock, told
from tests.dispatch.test_mqtt import phone
from tests.support.brokers import RunningBroker
from tests.support.world import CAMERA, FIELD, World


@contextmanager
def connected(broker: RunningBroker) -> Iterator[MqttChannel]:
    """The channel, up."""
    channel = MqttChannel(broker.user("dispatch"))
    assert channel.wait_ready(20)
    yield channel
    channel.close()


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_without_the_broker_all_else_goes_on_and_mqtt_catches_up_once(world: World, broker: RunningBroker) -> None:
    """Fires before, during and after an outage: every SMS goes at once, every MQTT notice arrives once."""
    sms = Pigeon("sms")
    with (
        connected(broker) as mqtt,
        Dispatcher(world.database, WorldClock(world), Expander(["mqtt", "sms"], ZONE), [mqtt, sms]) as running,
    ):
        with phone(broker, "worker-1") as received:
            before = world.sighting(at=FIELD)
            running.step()
            running.settle()
            assert received.get(timeout=20)["incident"] == before
        broker.kill()
        during = [world.sighting(at=move(*CAMERA, bearing, 1_000)) for bearing in (0.0, 40.0)]
        running.step()
        running.settle()
        texts = " ".join(notice.payload["text"] for notice in sms.carried)
        assert all(code in texts for code in (before, *during))
        world.now += timedelta(minutes=1)
        broker.start()
        with phone(broker, "worker-1") as received:
            assert mqtt.wait_ready(20)
            after = world.sighting(at=move(*CAMERA, 320.0, 1_000))
            running.step()
            running.settle()
            arrived = [received.get(timeout=20)["incident"] for _ in range(3)]
            assert received.empty()
    assert sorted(arrived) == sorted([*during, after])
    for code in (before, *during, after):
        assert {notice.channel: notice.state for notice in told(world, code)} == {"mqtt": "sent", "sms": "sent"}
