# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine as a process: it beats and signs for whoever listens, and its silence can be told from its work."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from server.audit import cli
from server.evidence import verify
from tests.support.brokers import PASSWORDS, RunningBroker
from tests.support.world import World


@pytest.fixture
def heard(broker: RunningBroker) -> Iterator[queue.Queue[tuple[str, bytes]]]:
    """What the server says of itself, as a subscriber outside hears it."""
    messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="watcher")
    client.username_pw_set("worker-1", PASSWORDS["worker-1"])
    client.on_message = lambda _client, _data, message: messages.put((message.topic, bytes(message.payload)))
    topics = [("straw1530/v1/server/heartbeat", 1), ("straw1530/v1/server/checkpoint", 1)]
    client.on_connect = lambda *_: client.subscribe(topics)
    client.connect(broker.host, broker.port)
    client.loop_start()
    yield messages
    client.disconnect()
    client.loop_stop()


def test_an_engine_beats_and_signs_and_its_death_is_silence(
    world: World, broker: RunningBroker, heard: queue.Queue[tuple[str, bytes]], tmp_path: Path
) -> None:
    """Heartbeat and signed checkpoint come by MQTT and as files; after kill -9 the watcher raises the alarm."""
    world.sighting()
    user = broker.user("engine")
    env = os.environ | {
        "STRAW1530_DATA": str(tmp_path / "data"),
        "STRAW1530_DATABASE": world.database.url.render_as_string(hide_password=False),
        "STRAW1530_MQTT": f"{user.username}:{user.password}@{user.host}:{user.port}",
    }
    engine = subprocess.Popen(
        [sys.executable, "-m", "straw1530.cli", "engine"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        found = dict(heard.get(timeout=60) for _ in range(2))
    finally:
        engine.send_signal(signal.SIGKILL)
        engine.wait(10)
    beat = json.loads(found["straw1530/v1/server/heartbeat"])
    assert beat["v"] == 1
    assert json.loads((tmp_path / "data" / "heartbeat.json").read_bytes())["v"] == 1
    key = verify.Key.parse((tmp_path / "data" / "evidence.pub").read_text())
    assert verify.Note.parse(found["straw1530/v1/server/checkpoint"].decode(), key).size >= 1
    assert cli.main(["--beat", str(tmp_path / "data" / "heartbeat.json"), "--max-age", "0"]) == 1
