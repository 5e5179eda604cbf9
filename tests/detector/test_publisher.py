# SPDX-License-Identifier: AGPL-3.0-or-later
"""The sender against real brokers: delivered means that the server said so."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from detector.clock import SystemClock
from detector.link.outbox import Outbox
from detector.link.publisher import Broker, Publisher
from detector.link.timekeeper import Timekeeper
from detector.wire import CameraStatus, topic
from tests.detector.make import START, sighting
from tests.support.brokers import PASSWORDS, RunningBroker

JPEG = b"\xff\xd8" + bytes(5000)
EDGE = "edge-1"


def eventually(happened: Callable[[], Any], timeout_s: float = 30) -> None:
    """Wait until something has happened; fail when it has not in good time."""
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Server:
    """The other end: keeps what comes and answers each part, unless told not to."""

    def __init__(self, broker: RunningBroker, silent_for: int = 0, refuse: frozenset[str] = frozenset()) -> None:
        self.messages: list[dict[str, Any]] = []
        self.pictures: dict[str, bytes] = {}
        self.status: list[dict[str, Any]] = []
        self.order: list[str] = []
        self._silent_for = silent_for
        self._refuse = refuse
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set("engine", PASSWORDS["engine"])
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("straw1530/v1/edge/+/#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    @property
    def ids(self) -> list[str]:
        """Sightings in the order of first arrival."""
        return list(dict.fromkeys(message["id"] for message in self.messages))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        parts = message.topic.split("/")
        if parts[4] == "status":
            self.status.append(json.loads(message.payload))
        elif parts[4] == "sighting":
            body = json.loads(message.payload)
            again = body["id"] in self.ids
            self.messages.append(body)
            self.order.append("sighting")
            self._answer(body["id"], "sighting", again)
        elif parts[4] == "onset":
            self._answer(json.loads(message.payload)["id"], "onset", again=False)
        elif parts[4] == "picture":
            again = parts[5] in self.pictures
            self.pictures[parts[5]] = bytes(message.payload)
            self.order.append("picture")
            self._answer(parts[5], "picture", again)

    def _answer(self, key: str, part: str, again: bool) -> None:
        if self._silent_for:
            self._silent_for -= 1
            return
        result = "refused" if key in self._refuse else "duplicate" if again else "stored"
        reason = "no such camera" if result == "refused" else None
        ack = {"v": 1, "id": key, "part": part, "result": result, "reason": reason}
        self._client.publish(f"straw1530/v1/edge/{EDGE}/ack", json.dumps(ack), 1)


@contextmanager
def serving(broker: RunningBroker, **more: Any) -> Iterator[Server]:
    server = Server(broker, **more)
    try:
        yield server
    finally:
        server.close()


class SkippingClock(SystemClock):
    """Real time that can be wound forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@contextmanager
def sending(broker: RunningBroker, outbox: Outbox, clock: SystemClock | None = None) -> Iterator[Publisher]:
    """A running sender of edge-1."""
    access = Broker(broker.host, broker.port, EDGE, PASSWORDS[EDGE])
    publisher = Publisher(EDGE, access, outbox, Timekeeper(clock or SystemClock()))
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,), daemon=True)
    publisher.start()
    thread.start()
    try:
        yield publisher
    finally:
        stop.set()
        publisher.wake()
        thread.join(10)
        publisher.stop()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.sqlite")
    yield opened
    opened.close()


def test_message_then_picture_then_forgotten(broker: RunningBroker, outbox: Outbox) -> None:
    """Messages first and in order, pictures after, and the outbox is empty once both are acknowledged."""
    found = [sighting(JPEG) for _ in range(5)]
    for each in found:
        outbox.put(each, JPEG, START)
    with serving(broker) as server, sending(broker, outbox):
        eventually(lambda: not outbox.listing())
    assert server.ids == [each.id for each in found]
    assert server.pictures == dict.fromkeys((each.id for each in found), JPEG)
    assert server.order[0] == "sighting"


def test_nothing_is_forgotten_until_the_server_has_it(broker: RunningBroker, outbox: Outbox) -> None:
    """The broker's own acknowledgement is not enough: without the server's, the message is sent again."""
    found = sighting()
    outbox.put(found, None, START)
    clock = SkippingClock()
    with serving(broker, silent_for=1) as server, sending(broker, outbox, clock) as publisher:
        eventually(lambda: server.messages)
        assert outbox.due("sighting", 1) == [found.id]
        clock.ahead = 15
        publisher.wake()
        eventually(lambda: not outbox.listing())
    assert [message["id"] for message in server.messages] == [found.id, found.id]


def test_the_time_of_sending_is_that_of_each_sending(broker: RunningBroker, outbox: Outbox) -> None:
    """A late alarm says when it was found and when it was sent."""
    found = sighting()
    outbox.put(found, None, START)
    with serving(broker) as server, sending(broker, outbox):
        eventually(lambda: not outbox.listing())
    [message] = server.messages
    assert message["t1"] == "2026-10-04T17:30:14.000Z"
    assert message["sent_at"] > message["t1"]


def test_a_refusal_is_parked_and_does_not_block(broker: RunningBroker, outbox: Outbox) -> None:
    """What the server refuses is kept aside with the reason; what comes behind it goes through."""
    bad, good = sighting(JPEG), sighting(JPEG)
    outbox.put(bad, JPEG, START)
    outbox.put(good, JPEG, START)
    with serving(broker, refuse=frozenset({bad.id})) as server, sending(broker, outbox):
        eventually(lambda: good.id in server.pictures)
        eventually(lambda: len(outbox.listing()) == 2)
    assert {item.parked for item in outbox.listing()} == {"no such camera"}
    assert bad.id not in server.pictures


def test_it_outlives_the_broker(broker: RunningBroker, outbox: Outbox) -> None:
    """The broker is killed with alarms under way and loses all it had; they arrive once it is back."""
    first, second = sighting(), sighting(JPEG)
    with sending(broker, outbox) as publisher:
        with serving(broker, silent_for=100) as server:
            outbox.put(first, None, START)
            publisher.wake()
            eventually(lambda: server.messages)
            broker.kill()
            outbox.put(second, JPEG, START)
            publisher.wake()
        eventually(lambda: not publisher.connected)
        broker.start()
        with serving(broker) as server:
            eventually(lambda: not outbox.listing())
            assert server.ids == [first.id, second.id]


def test_the_status_is_retained_and_the_will_follows_a_death(broker: RunningBroker, outbox: Outbox) -> None:
    """Who connects later sees how the cameras are; a clean stop says offline."""
    camera = CameraStatus(state="stream_down", last_frame_at=None, reason="the camera does not answer")
    with serving(broker) as early:
        with sending(broker, outbox) as publisher:
            publisher.tell({"cam-1": camera})
            publisher.wake()
            eventually(lambda: any(status["cameras"] for status in early.status))
            with serving(broker) as late:
                eventually(lambda: late.status)
                assert late.status[0]["online"] is True
                assert late.status[0]["cameras"]["cam-1"]["state"] == "stream_down"
        eventually(lambda: early.status[-1]["online"] is False)


def test_a_wrong_password_is_named(broker: RunningBroker, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    """The log says who is refused and what to check, once, and the alarm stays."""
    caplog.set_level("INFO")
    found = sighting()
    outbox.put(found, None, START)
    publisher = Publisher(EDGE, Broker(broker.host, broker.port, EDGE, "wrong"), outbox, Timekeeper(SystemClock()))
    publisher.start()
    try:
        eventually(lambda: "check broker.username and password_file" in caplog.text)
    finally:
        publisher.stop()
    assert outbox.due("sighting", 1) == [found.id]


def test_what_is_no_acknowledgement_is_left_out(broker: RunningBroker, outbox: Outbox) -> None:
    """Malformed answers, and answers for things never sent, neither stop the sender nor empty the outbox."""
    found = sighting()
    with serving(broker, silent_for=1) as server, sending(broker, outbox, SkippingClock()) as publisher:
        outbox.put(found, None, START)
        publisher.wake()
        eventually(lambda: server.messages)
        for payload in (b"", b"\xff\xfe", b"{}", b'{"v":2,"id":"x","part":"sighting","result":"stored"}'):
            server._client.publish(f"straw1530/v1/edge/{EDGE}/ack", payload, 1)
        server._answer("never sent", "sighting", False)
        later = sighting()
        outbox.put(later, None, START)
        publisher.wake()
        eventually(lambda: outbox.due("sighting", 9) == [found.id])


SENDER = """
import sys, threading
from pathlib import Path
from detector.clock import SystemClock
from detector.link.outbox import Outbox
from detector.link.publisher import Broker, Publisher
from detector.link.timekeeper import Timekeeper
from tests.detector.make import START, sighting
host, port, name, password, path = sys.argv[1:]
box = Outbox(Path(path))
publisher = Publisher(name, Broker(host, int(port), name, password), box, Timekeeper(SystemClock()))
publisher.start()
threading.Thread(target=publisher.run, args=(threading.Event(),), daemon=True).start()
for _ in range(3000):
    found = sighting(b"\\xff\\xd8" + bytes(36))
    box.put(found, b"\\xff\\xd8" + found.id.encode(), START)
    print(found.id, flush=True)
    publisher.wake()
"""


def test_kill_9_while_sending_loses_nothing_and_repeats_nothing(broker: RunningBroker, tmp_path: Path) -> None:
    """Killed several times in full flow: every accepted alarm arrives with its picture, once by its id."""
    path = tmp_path / "outbox.sqlite"
    accepted: list[str] = []
    with serving(broker) as server:
        for round_ in range(4):
            command = [sys.executable, "-c", SENDER, broker.host, str(broker.port), EDGE, PASSWORDS[EDGE], str(path)]
            sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert sender.stdout
            before = len(server.messages)
            for line in sender.stdout:
                accepted.append(line.strip())
                if len(server.messages) > before + 3 * round_:
                    break
            sender.kill()
            accepted += [line.strip() for line in sender.stdout if line.endswith("\n")]
            sender.stdout.close()
            sender.wait(10)
        outbox = Outbox(path)
        with sending(broker, outbox):
            eventually(lambda: not outbox.listing(), 60)
        outbox.close()
    assert [key for key in server.ids if key in set(accepted)] == accepted
    assert len(server.ids) <= len(accepted) + 4
    assert server.pictures == {key: b"\xff\xd8" + key.encode() for key in server.ids}


class SlowLink:
    """A broker at the end of a link so slow that it has not had any picture yet: it lets everybody in, takes messages,
    and counts the pictures that are put on the way."""

    def __init__(self) -> None:
        self.pictures = 0
        self.topics: set[str] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peer: socket.socket | None = None
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """The connection breaks."""
        assert self._peer is not None
        self._peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Nobody is let in any more."""
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._peer, _ = self._listener.accept()
                with self._peer, self._peer.makefile("rb") as stream, suppress(OSError):
                    while header := stream.read(1):
                        self._peer.sendall(self._answer(header[0], stream.read(_length(stream))))

    def _answer(self, header: int, body: bytes) -> bytes:
        """MQTT 3.1.1: CONNACK, SUBACK, PINGRESP, and PUBACK but for pictures."""
        kind = header >> 4
        if kind == 8:
            return b"\x90\x04" + body[:2] + b"\1\0"
        if kind != 3:
            return {1: b"\x20\2\0\0", 12: b"\xd0\0"}.get(kind, b"")
        end = 2 + int.from_bytes(body[:2])
        if b"/picture/" in body[:end]:
            self.pictures += 1
            return b""
        self.topics.add(body[2:end].decode())
        return b"\x40\2" + body[end : end + 2] if header & 6 else b""


def _length(stream: IO[bytes]) -> int:
    """MQTT's remaining length: seven bits a byte, the lowest first."""
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def test_a_picture_is_put_on_a_slow_link_once(outbox: Outbox) -> None:
    """However long it takes, and once more for each connection: copies of it would keep alarms back."""
    found = sighting(JPEG)
    outbox.put(found, JPEG, START)
    outbox.stored(found.id, "sighting")
    clock, link = SkippingClock(), SlowLink()
    publisher = Publisher(EDGE, Broker("127.0.0.1", link.port, EDGE, "x"), outbox, Timekeeper(clock))
    publisher.start()

    def sent(marks: int) -> int:
        """Pictures on the way, after two steps more on a connection."""
        eventually(lambda: publisher.connected)
        publisher.step()
        publisher.step()
        publisher.say(f"mark/{marks}", b"")
        eventually(lambda: topic(EDGE, f"mark/{marks}") in link.topics)
        return link.pictures

    assert sent(1) == 1
    for marks in (2, 3):
        clock.ahead += 200
        assert sent(marks) == 1
    for connections in (2, 3):
        link.cut()
        eventually(lambda: not publisher.connected)
        assert sent(2 + connections) == connections
    clock.ahead += 1000
    assert sent(6) == 4
    publisher.stop()
    link.close()
