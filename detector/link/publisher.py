# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sends what is in the outbox and keeps sending it until the server, not the broker, says that it has it."""

from __future__ import annotations

import logging
import queue
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from detector.errors import OutboxError
from detector.link.outbox import Outbox
from detector.link.timekeeper import Timekeeper
from detector.wire import Ack, CameraState, CameraStatus, Part, Status, read_ack, topic

log = logging.getLogger(__name__)

WINDOW: dict[Part, int] = {"sighting": 16, "onset": 4, "coverage": 2, "picture": 2}
"""How many of each may be under way without an acknowledgement."""
FIRST_WAIT_S, LONGEST_WAIT_S = 10.0, 160.0
"""How long an acknowledgement may take before the part is sent again: doubled each time."""
SLOWEST_S = 900.0
"""How long a picture may take to the broker: the largest over 5 kB/s."""
STATUS_S = 30.0
IDLE_S = 1.0
KEEPALIVE_S = 20
GOODBYE_S = 0.5


Listener = Callable[[str, bytes], None]
"""Takes what came: the rest of its topic, and its payload. Raises ValueError for what is none of it, or OSError."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it; `ca_file` turns on TLS."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class _Sent:
    """When a part was last sent (monotonic), how long its acknowledgement is waited for, and what the library does
    with it."""

    at: float
    wait: float
    info: MQTTMessageInfo

    def under_way(self, now: float) -> bool:
        """Whether it has not reached the broker yet. The library holds it until then, over new connections too: each
        copy more would keep an alarm back on a slow link."""
        try:
            return now - self.at < SLOWEST_S and not self.info.is_published()
        except (RuntimeError, ValueError):
            return False  # it fell between two connections: nobody can say


class Publisher:
    """One connection to the broker. `step` does all the work but receiving, which is paho's own thread."""

    def __init__(self, edge: str, broker: Broker, outbox: Outbox, clock: Timekeeper) -> None:
        self._edge = edge
        self._broker = broker
        self._outbox = outbox
        self._clock = clock
        self._inbox: queue.SimpleQueue[tuple[str, bytes, float]] = queue.SimpleQueue()
        self._listeners: dict[str, Listener] = {}
        self._duties: list[Callable[[], None]] = []
        self._more: Callable[[], Mapping[str, Any]] = dict
        self._woken = threading.Event()
        self._ready = threading.Event()
        self._new_session = threading.Event()
        self._sent: dict[tuple[str, Part], _Sent] = {}
        self._cameras: Mapping[str, CameraStatus] = {}
        self._told: tuple[float, dict[str, CameraState], Mapping[str, Any]] | None = None
        self._trouble: str | None = None
        self._refusal: str | None = None
        self._topics = [(topic(edge, "ack"), 1), (topic(edge, "time-reply"), 0)]
        self._client = self._make_client()

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._client.connect_async(self._broker.host, self._broker.port, KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Say goodbye and disconnect; what is unsent stays in the outbox."""
        if self._ready.is_set():
            info = self._client.publish(topic(self._edge, "status"), self._status(online=False), 1, retain=True)
            try:
                info.wait_for_publish(GOODBYE_S)
            except (RuntimeError, ValueError) as error:
                log.info("the goodbye did not reach the broker: %s", error)
        self._client.disconnect()
        self._client.loop_stop()

    def run(self, stop: threading.Event) -> None:
        """`step` until stopped; woken by new sightings and acknowledgements."""
        while not stop.is_set():
            try:
                self.step()
            except Exception:
                log.exception("sending failed; going on")
            self._woken.wait(IDLE_S)
            self._woken.clear()

    def wake(self) -> None:
        """There is something new to send."""
        self._woken.set()

    @property
    def connected(self) -> bool:
        """Connected, and listening for acknowledgements."""
        return self._ready.is_set()

    def listen(self, name: str, listener: Listener, levels: int = 0) -> None:
        """Before the start: hand what comes on `edge/<edge>/<name>` (with so many more levels) to `listener`, on the
        sending thread."""
        self._listeners[name] = listener
        self._topics.append((topic(self._edge, name, *["+"] * levels), 1))

    def attend(self, duty: Callable[[], None]) -> None:
        """Before the start: do `duty` at each step."""
        self._duties.append(duty)

    def report(self, more: Callable[[], Mapping[str, Any]]) -> None:
        """Before the start: say `more` in the status, at once when it changes."""
        self._more = more

    def say(self, name: str, payload: bytes) -> None:
        """Send something that is asked for again when it is lost."""
        if self._ready.is_set():
            self._client.publish(topic(self._edge, name), payload, qos=1)

    def tell(self, cameras: Mapping[str, CameraStatus]) -> None:
        """How the cameras are: published when a state changes, and every half minute."""
        self._cameras = cameras

    def step(self) -> None:
        """Take in what came, then send what is due."""
        self._clock.watch()
        self._take_in()
        self._attend()
        self._outbox.flush(self._clock.now())
        if not self._ready.is_set():
            return
        if self._new_session.is_set():
            self._new_session.clear()
            self._sent = {each: sent for each, sent in self._sent.items() if self._holds(each[1], sent)}
            self._told = None
            self._clock.connected()
        self._ask_the_time()
        self._send_status()
        for part, window in WINDOW.items():
            due = self._outbox.due(part, window)
            for key in due:
                self._send(key, part)
            if part == "sighting" and len(due) == window:
                return  # more alarms may wait: nothing goes before them

    def _attend(self) -> None:
        """What fails here, by the disk or by a fault of our own, must not keep alarms back."""
        for duty in self._duties:
            try:
                duty()
            except Exception as error:
                if str(error) != self._refusal:
                    log.error("%s; going on", error, exc_info=not isinstance(error, OSError))
                self._refusal = str(error)

    def _send(self, key: str, part: Part) -> None:
        now = self._clock.monotonic()
        sent = self._sent.get((key, part))
        if sent is not None and (now - sent.at < sent.wait or self._holds(part, sent)):
            return
        if sent is not None:
            log.info("no acknowledgement for %s %s after %.0f s, sending it again", part, key, sent.wait)
        payload = self._payload(key, part)
        if payload is not None:
            where = (part, key) if part == "picture" else (part,)
            info = self._client.publish(topic(self._edge, *where), payload, qos=1)
            wait = min(2 * sent.wait, LONGEST_WAIT_S) if sent else FIRST_WAIT_S
            self._sent[key, part] = _Sent(now, wait, info)

    def _holds(self, part: Part, sent: _Sent) -> bool:
        """Whether what was sent is still to be waited for: messages are small, and are rather sent once too often."""
        return part == "picture" and sent.under_way(self._clock.monotonic())

    def _payload(self, key: str, part: Part) -> bytes | None:
        """What is sent, with what is known of the clock by now; None when it is gone."""
        if part == "picture":
            return self._outbox.picture(key)
        if part == "onset":
            onset = self._outbox.onset(key)
            return onset.to_bytes(self._clock.stamp(onset.t0.latest, onset.clock)) if onset else None
        if part == "coverage":
            report = self._outbox.coverage(key)
            return report.to_bytes(self._clock.stamp(report.runs[-1].to, report.clock)) if report else None
        sighting = self._outbox.sighting(key)
        if sighting is None:
            return None
        return sighting.to_bytes(self._clock.now(), self._clock.stamp(sighting.t1, sighting.clock))

    def _ask_the_time(self) -> None:
        question = self._clock.question()
        if question is not None:
            # QoS 0: a question that is delivered later is of no use.
            self._client.publish(topic(self._edge, "time"), question, qos=0)

    def _status(self, online: bool) -> str:
        at = self._clock.now()
        status = Status(online=online, at=at, clock=self._clock.stamp(at), cameras=dict(self._cameras), **self._more())
        return status.model_dump_json()

    def _send_status(self) -> None:
        now = self._clock.monotonic()
        states = {camera: status.state for camera, status in self._cameras.items()}
        more = self._more()
        if self._told and self._told[1:] == (states, more) and now - self._told[0] < STATUS_S:
            return
        self._client.publish(topic(self._edge, "status"), self._status(online=True), 1, retain=True)
        self._told = now, states, more

    def _take_in(self) -> None:
        while not self._inbox.empty():
            name, payload, received = self._inbox.get()
            kind, _, rest = name.partition("/")
            try:
                if kind == "ack":
                    self._take_ack(read_ack(payload))
                elif kind == "time-reply":
                    self._clock.answer(payload, received)
                else:
                    self._listeners[kind](rest, payload)
            except ValueError as error:
                log.warning("the server's %s that is none was left out: %s", kind, error)
            except (OutboxError, OSError) as error:
                log.error("%s", error)

    def _take_ack(self, ack: Ack) -> None:
        self._sent.pop((ack.id, ack.part), None)
        if ack.result == "refused":
            log.error("the server refused %s %s: %s; it is parked", ack.part, ack.id, ack.reason)
            self._outbox.refused(ack.id, ack.part, ack.reason or "no reason given")
        else:
            log.info("the server has %s %s (%s)", ack.part, ack.id, ack.result)
            self._outbox.stored(ack.id, ack.part)

    def _make_client(self) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._edge, clean_session=True)
        client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.ca_file:
            client.tls_set(self._broker.ca_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.reconnect_delay_set(1, 30)
        will = Status(online=False, at=self._clock.now(), cameras={})
        client.will_set(topic(self._edge, "status"), will.model_dump_json(), 1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: Client, _: Any, __: Any, reason: ReasonCode, ___: Properties | None) -> None:
        if reason.is_failure:
            self._complain(f"refuses user {self._broker.username} ({reason}): check broker.username and password_file")
            return
        client.subscribe(self._topics)

    def _on_subscribe(self, _: Client, __: Any, ___: int, reasons: list[ReasonCode], ____: Properties | None) -> None:
        if reasons[0].is_failure:  # the others are what an older server does not have
            self._complain(
                f"does not let {self._broker.username} read {topic(self._edge, 'ack')}: check its access rules"
            )
            return
        self._trouble = None
        log.info("connected to broker %s:%s", self._broker.host, self._broker.port)
        self._new_session.set()
        self._ready.set()
        self.wake()

    def _on_connect_fail(self, _: Client, __: Any) -> None:
        self._complain("cannot be reached: check broker.host, broker.port and the network")

    def _on_disconnect(self, _: Client, __: Any, ___: Any, reason: ReasonCode, ____: Properties | None) -> None:
        if self._ready.is_set():
            self._ready.clear()
            if reason.is_failure:
                self._complain(f"closed the connection ({reason})")

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        name = message.topic.removeprefix(topic(self._edge, ""))
        self._inbox.put((name, bytes(message.payload), self._clock.monotonic()))
        self.wake()

    def _complain(self, trouble: str) -> None:
        """Once for each new trouble, not at each attempt."""
        if trouble != self._trouble:
            log.warning("broker %s:%s %s; alarms wait in the outbox", self._broker.host, self._broker.port, trouble)
        self._trouble = trouble
