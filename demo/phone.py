# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker's phone on MQTT: takes notices from its own topic and acknowledges each."""

from __future__ import annotations

import json
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from server.admin.brokerusers import ROOT


class MqttPhone:
    """Use as a context manager. Reconnects by itself."""

    def __init__(self, host: str, port: int, login: str, password: str) -> None:
        self._address = (host, port)
        self._login = login
        self._incidents: list[str] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"phone-{login}", clean_session=False)
        client.username_pw_set(login, password)
        client.reconnect_delay_set(1, 2)
        client.on_connect = self._connected
        client.on_message = self._received
        self._client = client

    def __enter__(self) -> MqttPhone:
        self._client.connect_async(*self._address)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def incidents(self) -> list[str]:
        """The codes of the incidents this phone was told of."""
        return list(self._incidents)

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(f"{ROOT}/person/{self._login}/notice", 1)

    def _received(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        notice = json.loads(message.payload)
        self._incidents.append(notice["incident"])
        receipt = json.dumps({"v": 1, "notice": notice["id"]})
        client.publish(f"{ROOT}/person/{self._login}/receipt", receipt, qos=1)
