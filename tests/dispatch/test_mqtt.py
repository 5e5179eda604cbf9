# SPDX-License-Identifier: AGPL-3.0-or-later
"""The MQTT channel on real brokers with their access rules on."""

from __future__ import annotations

import json
import queue
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from dispatch.channels import Outgoing, Sent, TryAgain
from dispatch.channels.mqtt import MqttChannel
from tests.support.brokers import RunningBroker


@contextmanager
def phone(broker: RunningBroker, login: str, topic: str | None = None) -> Iterator[queue.Queue[dict[str, Any]]]:
    """Somebody's phone, subscribed to their own notices (or, for who may, to another topic)."""
    user = broker.user(login)
    received: queue.Queue[dict[str, Any]] = queue.Queue()
    subscribed: queue.Queue[int] = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"phone-{login}")
    client.username_pw_set(user.username, user.password)

    def subscribe(*_: Any) -> None:
        client.subscribe(topic or f"straw1530/v1/person/{login}/notice", qos=1)

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: subscribed.put(1)
    client.on_message = lambda _client, _data, message: received.put(json.loads(message.payload))
    client.connect(user.host, user.port)
    client.loop_start()
    try:
        subscribed.get(timeout=20)
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def channel(broker: RunningBroker) -> Iterator[MqttChannel]:
    """The dispatcher's channel, connected."""
    opened = MqttChannel(broker.user("dispatch"))
    try:
        assert opened.wait_ready(20)
        yield opened
    finally:
        opened.close()


def notice(login: str) -> Outgoing:
    """A notice to somebody."""
    number = str(uuid.uuid4())
    return Outgoing(number, login, None, "zh", {"v": 1, "id": number, "text": "疑似焚烧"})


def test_a_notice_reaches_its_person_and_nobody_else(broker: RunningBroker) -> None:
    """Each phone sees its own topic."""
    with phone(broker, "worker-1") as first, phone(broker, "worker-2") as second, channel(broker) as mqtt:
        sent = notice("worker-1")
        assert mqtt.send(sent) == Sent()
        assert first.get(timeout=20) == sent.payload
        assert second.empty()


def test_without_the_broker_nothing_is_sent_and_nothing_is_kept(broker: RunningBroker) -> None:
    """While the broker is away a send says try again; when it is back, no old message follows by itself."""
    with channel(broker) as mqtt:
        broker.kill()
        lost = notice("worker-1")
        assert isinstance(mqtt.send(lost), TryAgain)
        assert not mqtt.ready()
        broker.start()
        with phone(broker, "worker-1") as received:
            assert mqtt.wait_ready(20)
            again = notice("worker-1")
            assert mqtt.send(again) == Sent()
            assert received.get(timeout=20)["id"] == again.id
            assert received.empty()


def test_two_dispatchers_do_not_throw_each_other_out(broker: RunningBroker) -> None:
    """Wherever they run: the broker lets one client of a name in, and in containers process numbers are alike."""
    with phone(broker, "worker-1") as received, channel(broker) as first, channel(broker) as second:
        sent = [notice("worker-1") for _ in range(4)]
        assert [way.send(one) for way, one in zip((first, second, first, second), sent, strict=True)] == [Sent()] * 4
        assert {received.get(timeout=20)["id"] for _ in sent} == {one.id for one in sent}


def test_a_wrong_password_is_not_ready(broker: RunningBroker) -> None:
    """A refused connection sends nothing and raises nothing."""
    from dataclasses import replace

    mqtt = MqttChannel(replace(broker.user("dispatch"), password="wrong"))
    try:
        assert not mqtt.wait_ready(1.5)
        assert isinstance(mqtt.send(notice("worker-1")), TryAgain)
    finally:
        mqtt.close()
