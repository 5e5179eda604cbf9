# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notices over MQTT: each person's own topic, QoS 1, sent once the broker has acknowledged.

paho keeps unacknowledged messages in memory and sends them again after a reconnection, also those whose failure was
already recorded here. So each connection is a client of its own: when it breaks, its memory goes with it, and what was
not acknowledged is sent again from the database.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from dispatch.channels import Outcome, Outgoing, Sent, TryAgain
from server.admin.brokerusers import ROOT
from server.settings import Broker

log = logging.getLogger("dispatch.mqtt")

_ACK_TIMEOUT_S = 5.0
_RETRY_S = 1.0


class Connection:
    """One connection's life: connecting, connected, and dead for good. ``prepare`` is given the client before it
    connects."""

    def __init__(self, broker: Broker, name: str, prepare: Callable[[paho.Client], None] | None = None) -> None:
        # A name of its own: the broker lets only one client of a name in, and in containers process numbers are alike.
        client_id = f"{name}-{secrets.token_hex(6)}"
        self.connected = threading.Event()
        self.dead = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False)
        self.client.username_pw_set(broker.username, broker.password)
        self.client.max_inflight_messages_set(1000)
        self.client.connect_timeout = _ACK_TIMEOUT_S
        self.client.on_connect = self._on_connect
        self.client.on_connect_fail = self._on_connect_fail
        self.client.on_disconnect = self._on_disconnect
        if prepare is not None:
            prepare(self.client)
        self.client.connect_async(broker.host, broker.port, keepalive=15)
        self.client.loop_start()

    def _on_connect(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused the connection: %s", reason)
            self.die()
        else:
            self.connected.set()

    def _on_connect_fail(self, *_: Any) -> None:
        self.die()

    def _on_disconnect(self, *_: Any) -> None:
        self.die()

    def die(self) -> None:
        """It is of no use any more; whoever looks next drops it."""
        self.dead.set()
        self.connected.clear()

    def drop(self) -> None:
        """End it, and forget what was not acknowledged."""
        self.die()
        self.client.disconnect()
        self.client.loop_stop()


class MqttChannel:
    """The channel to ``straw1530/v1/person/<login>/notice``."""

    name = "mqtt"
    parallel = 2

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._tried_at = float("-inf")
        self._was_up = True

    def ready(self) -> bool:
        """Whether the broker is connected; begins to connect when it is not."""
        with self._lock:
            if self._connection is not None and self._connection.dead.is_set():
                self._connection.drop()
                self._connection = None
            if self._connection is None and time.monotonic() - self._tried_at >= _RETRY_S:
                self._tried_at = time.monotonic()
                self._connection = Connection(self._broker, "dispatch")
            up = self._connection is not None and self._connection.connected.is_set()
        if up != self._was_up:
            log.info("the broker at %s:%d is %s", self._broker.host, self._broker.port, "up" if up else "not there")
            self._was_up = up
        return up

    def wait_ready(self, timeout_s: float) -> bool:
        """Connect and wait for it, at most this long."""
        end = time.monotonic() + timeout_s
        while not self.ready():
            if time.monotonic() >= end:
                return False
            if self._connection is not None:
                self._connection.connected.wait(0.05)
        return True

    def send(self, notice: Outgoing) -> Outcome:
        """Publish and wait for the broker's PUBACK."""
        return self.send_all([notice])[0]

    def send_all(self, notices: Sequence[Outgoing]) -> list[Outcome]:
        """Publish them all, then wait for the PUBACKs."""
        connection = self._connection
        if connection is None or not connection.connected.is_set():
            return [TryAgain("the broker is not connected")] * len(notices)
        end = time.monotonic() + _ACK_TIMEOUT_S
        published = [self._publish(connection, notice) for notice in notices]
        return [self._acknowledged(connection, info, end) for info in published]

    @staticmethod
    def _publish(connection: Connection, notice: Outgoing) -> paho.MQTTMessageInfo:
        payload = json.dumps(notice.payload, ensure_ascii=False, separators=(",", ":")).encode()
        return connection.client.publish(f"{ROOT}/person/{notice.login}/notice", payload, qos=1)

    @staticmethod
    def _acknowledged(connection: Connection, info: paho.MQTTMessageInfo, end: float) -> Outcome:
        while True:
            try:
                if info.is_published():
                    return Sent()
                if connection.dead.is_set() or time.monotonic() >= end:
                    break
                info.wait_for_publish(0.25)
            except (RuntimeError, ValueError) as error:
                return TryAgain(f"the broker's client refused it: {error}")
        # Not acknowledged: the connection goes, so that paho cannot send it behind our back.
        connection.die()
        return TryAgain(f"the broker did not acknowledge within {_ACK_TIMEOUT_S:.0f} s")

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            if self._connection is not None:
                self._connection.drop()
                self._connection = None
