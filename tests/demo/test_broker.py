# SPDX-License-Identifier: AGPL-3.0-or-later
"""The access rules, the same on mosquitto and on the embedded broker."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from server.admin.brokerusers import ROOT, hash_password, verify_password, write_users
from tests.support.brokers import RunningBroker


class Client:
    """A client that remembers what it received."""

    def __init__(self, broker: RunningBroker, name: str, *topics: str, password: str | None = None) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.arrived = threading.Event()
        self.settled = threading.Event()
        self.refused = False
        self._topics = topics
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-{id(self)}", clean_session=False)
        self.client.username_pw_set(name, password or broker.user(name).password)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self.settled.set()
        self.client.on_message = self._message
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert self.settled.wait(10)

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.refused = reason.is_failure
        if self.refused or not self._topics:
            self.settled.set()
        else:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.received.append((message.topic.removeprefix(f"{ROOT}/"), bytes(message.payload)))
        self.arrived.set()

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, and wait for the broker's word."""
        self.client.publish(f"{ROOT}/{topic}", payload, qos=1, retain=retain).wait_for_publish(10)


@contextmanager
def clients(*made: Client) -> Iterator[None]:
    """Disconnects them at the end."""
    try:
        yield
    finally:
        for one in made:
            one.client.disconnect()
            one.client.loop_stop()


def test_everybody_stays_below_their_own_name(broker: RunningBroker) -> None:
    """A box cannot speak for another, a worker cannot read another's notices; the engine hears what is allowed."""
    engine = Client(broker, "engine", f"{ROOT}/#")
    box = Client(broker, "edge-1", f"{ROOT}/edge/edge-1/ack", f"{ROOT}/person/worker-1/notice")
    worker = Client(broker, "worker-1", f"{ROOT}/person/worker-1/notice", f"{ROOT}/person/worker-2/notice", f"{ROOT}/#")
    with clients(engine, box, worker):
        box.say("edge/edge-2/sighting", b"forged")
        worker.say("person/worker-2/answer", b"forged")
        box.say("edge/edge-1/sighting", b"true")
        engine.say("person/worker-2/notice", b"for worker-2")
        engine.say("person/worker-1/notice", b"for worker-1")
        worker.say("person/worker-1/answer", b"last")
        while ("person/worker-1/answer", b"last") not in engine.received:
            engine.arrived.clear()
            assert engine.arrived.wait(10)
        assert worker.arrived.wait(10)
    assert [payload for _, payload in engine.received if payload == b"forged"] == []
    assert ("edge/edge-1/sighting", b"true") in engine.received
    assert worker.received == [("person/worker-1/notice", b"for worker-1")]
    assert box.received == []


def test_retained_messages_reach_only_those_who_may_read_them(broker: RunningBroker) -> None:
    """A phone that connects anew does not see the boxes' retained status."""
    engine = Client(broker, "engine", f"{ROOT}/#")
    box = Client(broker, "edge-1")
    box.say("edge/edge-1/status", b"online", retain=True)
    assert engine.arrived.wait(10)
    worker = Client(broker, "worker-1", f"{ROOT}/person/worker-1/notice")
    with clients(engine, box, worker):
        engine.say("person/worker-1/notice", b"hello")
        assert worker.arrived.wait(10)
    assert worker.received == [("person/worker-1/notice", b"hello")]


def test_nothing_is_lost_on_one_phone_while_others_come(broker: RunningBroker) -> None:
    """Notice after notice to one phone, while others connect and subscribe: it gets each."""
    engine = Client(broker, "engine", f"{ROOT}/#")
    worker = Client(broker, "worker-1", f"{ROOT}/person/worker-1/notice")
    others = Client(broker, "dispatch")
    told = [b"%d" % number for number in range(150)]
    with clients(engine, worker, others):
        for number, payload in enumerate(told):
            others.client.subscribe(f"{ROOT}/person/p{number}/notice", qos=1)
            engine.client.publish(f"{ROOT}/person/worker-1/notice", payload, qos=1)
        while ("person/worker-1/notice", told[-1]) not in worker.received:
            worker.arrived.clear()
            assert worker.arrived.wait(10)
    assert [payload for _, payload in worker.received] == told


def test_a_wrong_password_or_an_unknown_name_is_kept_out(broker: RunningBroker) -> None:
    """No anonymous clients, no guessing."""
    for name, password in (("worker-1", "wrong"), ("nobody", "anything")):
        client = Client(broker, name, password=password)
        with clients(client):
            assert client.refused


def test_passwords_are_kept_as_hashes(tmp_path: Path) -> None:
    """The file holds no password, is its owner's alone, and the hash knows its password from others."""
    write_users(tmp_path / "users", {"edge-1": "secret-of-the-box"})
    assert "secret-of-the-box" not in (tmp_path / "users").read_text()
    assert (tmp_path / "users").stat().st_mode & 0o077 == 0
    hashed = hash_password("a")
    assert verify_password("a", hashed)
    assert not verify_password("b", hashed)
    assert not verify_password("a", "rubbish")


def test_a_taken_port_is_one_sentence(broker: RunningBroker, tmp_path: Path) -> None:
    """It names the port and the mend, and the exit status is 2."""
    write_users(tmp_path / "other-users", {"engine": "x"})
    command = [sys.executable, "-m", "straw1530.cli", "broker", "--port", str(broker.port), "--users"]
    ended = subprocess.run([*command, str(tmp_path / "other-users")], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert str(broker.port) in ended.stderr
    assert "--port" in ended.stderr


def test_a_missing_password_file_is_one_sentence(tmp_path: Path) -> None:
    """It names the file."""
    command = [sys.executable, "-m", "straw1530.cli", "broker", "--users", str(tmp_path / "none")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert str(tmp_path / "none") in ended.stderr
