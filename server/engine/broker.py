# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's connection to the broker. A message is acknowledged to the broker only after its transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event as StopEvent
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy.exc import OperationalError

from server.engine.intake import SUBSCRIPTIONS
from server.settings import Broker

log = logging.getLogger("intake")


class BrokerLink:
    """Subscribes to what the intake takes, on paho's own thread, and reconnects by itself for ever.

    The session is kept by brokers that can (mosquitto), so answers sent while the engine was down arrive afterwards.
    """

    def __init__(self, broker: Broker, client_id: str, stop: StopEvent) -> None:
        self._broker = broker
        self._stop = stop
        self._handle: Callable[[str, bytes], None] | None = None
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True)
        client.username_pw_set(broker.username, broker.password)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        self._client = client

    def start(self, handle: Callable[[str, bytes], None]) -> None:
        """Begin; ``handle`` takes topic and payload on the link's thread."""
        self._handle = handle
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send an acknowledgement, QoS 1. One that is lost is asked for again by its receiver."""
        self._client.publish(topic, payload, qos=1)

    def keep(self, topic: str, payload: bytes) -> None:
        """Send a message that the broker keeps for whoever subscribes later (retained), QoS 1."""
        self._client.publish(topic, payload, qos=1, retain=True)

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused us: %s (user %s); trying again", reason, self._broker.username)
            return
        client.subscribe([(topic, 1) for topic in SUBSCRIPTIONS])
        log.info("connected to the broker at %s:%d", self._broker.host, self._broker.port)

    def _disconnected(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self._stop.is_set():
            log.warning("the broker is gone (%s); trying again", reason)

    def _message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        assert self._handle is not None
        while not self._stop.is_set():
            try:
                self._handle(message.topic, bytes(message.payload))
            except OperationalError as error:
                # Not acknowledged until it is committed: the database decides when we go on.
                log.error("the database cannot be written: %s; trying again", error.orig)
                self._stop.wait(1)
                continue
            except OSError as error:
                log.error("the evidence folder cannot be written: %s; trying again", error)
                self._stop.wait(1)
                continue
            except Exception:
                # A fault of ours in one message must not stop the alarms behind it.
                log.exception("a message on %s could not be handled and was passed over", message.topic)
            client.ack(message.mid, message.qos)
            return
