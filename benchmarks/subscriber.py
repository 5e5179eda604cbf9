# SPDX-License-Identifier: AGPL-3.0-or-later
"""Everybody's phone, in a process of its own so that it measures and does not disturb: when each notice arrives.

``python -m benchmarks.subscriber HOST PORT``: prints "ready", then "<incident> <seconds of the monotonic clock>" for
every notice until its input closes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


@contextmanager
def subscriber(broker: tuple[str, int]) -> Iterator[list[tuple[str, float]]]:
    """(Incident's code, arrival by the monotonic clock) of every notice, in order of arrival, as they come."""
    arrived: list[tuple[str, float]] = []
    command = [sys.executable, "-m", "benchmarks.subscriber", broker[0], str(broker[1])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    output = process.stdout
    if output.readline().strip() != "ready":
        raise SystemExit("bench: the subscriber did not start")

    def collect() -> None:
        for line in output:
            code, at = line.split()
            arrived.append((code, float(at)))

    collector = threading.Thread(target=collect, daemon=True)
    collector.start()
    try:
        yield arrived
    finally:
        process.stdin.close()
        process.wait(10)
        collector.join(10)


def main(host: str, port: int) -> None:
    """Subscribe and note arrivals; they are written when there is time."""
    arrived: list[tuple[str, float]] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("engine", "password-of-engine")

    def subscribe(*_: Any) -> None:
        client.subscribe("straw1530/v1/person/+/notice", qos=1)

    def receive(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        at = time.monotonic()
        arrived.append((json.loads(message.payload)["incident"], at))

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = receive
    client.connect(host, port)
    client.loop_start()
    stop = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    told = 0
    while not stop.wait(0.2):
        lines = arrived[told:]
        told += len(lines)
        sys.stdout.write("".join(f"{code} {at:.6f}\n" for code, at in lines))
        sys.stdout.flush()
    client.disconnect()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
