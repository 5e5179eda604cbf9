# SPDX-License-Identifier: AGPL-3.0-or-later
"""Try the broker, the server behind it, and this machine's clock against the server's."""

from __future__ import annotations

import queue

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from detector.clock import Clock
from detector.link.publisher import Broker
from detector.link.timekeeper import FIRST_EXCHANGES, Timekeeper
from detector.wire import topic

PATIENCE_S = 15.0
ANSWER_S = 5.0
FAR_MS = 1000.0


class Link:
    """One connection for the check, under a name of its own, so that a running box is not put out."""

    def __init__(self, edge: str, broker: Broker, clock: Clock) -> None:
        self._edge = edge
        self._broker = broker
        self._keeper = Timekeeper(clock)
        self._clock = clock
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[tuple[bytes, float]] = queue.SimpleQueue()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(broker.username, broker.password)
        if broker.ca_file:
            self._client.tls_set(broker.ca_file)
        self._client.on_connect = lambda _client, _data, _flags, reason, _more: self._on_connect(str(reason))
        self._client.on_subscribe = lambda *_: self._said.put("Success")
        self._client.on_message = lambda _client, _data, message: self._replies.put(
            (bytes(message.payload), clock.monotonic())
        )

    def reach(self) -> tuple[bool, str]:
        """Whether the broker lets us in, and one phrase."""
        where = f"{self._broker.host}:{self._broker.port}"
        try:
            self._client.connect(self._broker.host, self._broker.port)
        except OSError as error:
            return False, f"{where} cannot be reached ({error}): check broker.host and broker.port"
        self._client.loop_start()
        try:
            said = self._said.get(timeout=PATIENCE_S)
        except queue.Empty:
            said = "no answer"
        if said == "Success":
            return True, f"{where} as {self._broker.username}"
        return False, f"{where} refuses {self._broker.username} ({said}): check username and password_file"

    def compare_clocks(self) -> tuple[bool, str]:
        """This machine's clock against the server's, and one phrase; after `reach`."""
        for _ in range(FIRST_EXCHANGES):
            self._keeper.connected()
            question = self._keeper.question()
            self._client.publish(topic(self._edge, "time"), question, qos=0)
            try:
                self._keeper.answer(*self._replies.get(timeout=ANSWER_S))
            except queue.Empty:
                return False, f"the server does not answer in {ANSWER_S:.0f} s: is its engine running?"
            except ValueError as error:
                return False, f"the server's answer cannot be read: {error}"
        stamp = self._keeper.stamp()
        assert stamp.offset_ms is not None
        offset = f"{stamp.offset_ms:+.0f} ms to the server's, right within {stamp.error_ms:.0f} ms"
        far = "; set this machine's clock (chrony)" if abs(stamp.offset_ms) > FAR_MS else ""
        return True, offset + far

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, said: str) -> None:
        """Let in is who also hears the answers."""
        if said == "Success":
            self._client.subscribe(topic(self._edge, "time-reply"), 0)
        else:
            self._said.put(said)
