# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench dispatch``: from the alert's commit to the notice in a subscriber's hand, over real mosquitto, with
the whole city's region and people, at a steady rate."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import select

from benchmarks import figures
from benchmarks.city import City, add_database_option, city, cpu_s, dispatcher, on_each, open_incident
from server.models import PolicyVersion


@contextmanager
def subscriber(place: City) -> Iterator[list[tuple[str, float]]]:
    """Everybody's phone: (incident's code, arrival by the monotonic clock) of every notice, in order of arrival."""
    arrived: list[tuple[str, float]] = []
    subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("engine", "password-of-engine")

    def subscribe(*_: Any) -> None:
        client.subscribe("straw1530/v1/person/+/notice", qos=1)

    def receive(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        arrived.append((json.loads(message.payload)["incident"], time.monotonic()))

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = receive
    client.connect(*place.broker)
    client.loop_start()
    subscribed.wait(10)
    try:
        yield arrived
    finally:
        client.disconnect()
        client.loop_stop()


def measure(kind: str, folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Alerts at ``rate`` a second for so long; milliseconds from commit to hand."""
    with city(kind, folder) as place, subscriber(place) as arrived, dispatcher(place) as process:
        cpu = cpu_s(process)
        committed: dict[str, float] = {}
        with place.database.read() as session:
            policy = session.scalars(select(PolicyVersion)).one()
        warm_up, number = int(rate), int(rate * seconds)
        start = time.monotonic()
        for turn in range(warm_up + number):
            time.sleep(max(0.0, start + turn / rate - time.monotonic()))
            with place.database.write() as session:
                field = place.fields[turn * 7 % len(place.fields)]
                policy = session.merge(policy, load=False)
                code = open_incident(session, policy, turn, field, datetime.now(UTC), owner="dispatch")
            committed[code] = time.monotonic()
        took = time.monotonic() - start
        end = time.monotonic() + 30
        while len({code for code, _ in arrived}) < len(committed) and time.monotonic() < end:
            time.sleep(0.05)
        cpu = cpu_s(process) - cpu
    first = dict(reversed(arrived))
    delays = [1000 * (first[code] - at) for code, at in list(committed.items())[warm_up:] if code in first]
    return {
        "database": kind,
        "rate": round((warm_up + number) / took, 1),
        "alerts": number,
        "arrived": len(delays),
        "notices": len(arrived),
        "dispatcher_cpu_ms_per_alert": round(1000 * cpu / len(committed), 2),
        "commit_to_hand_ms": {name: round(value, 2) for name, value in figures.spread(delays).items()},
    }


def main(argv: Sequence[str]) -> int:
    """Measure on PostgreSQL and SQLite."""
    parser = argparse.ArgumentParser(prog="straw1530 bench dispatch", description=__doc__)
    parser.add_argument("--rate", type=float, default=100, help="alerts a second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="default %(default)s, after a second of warming up")
    add_database_option(parser)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    runs = on_each(args.database, lambda kind, folder: measure(kind, folder, args.rate, args.seconds))
    figures.write(args.json, "dispatch", {"budget_ms": {"p99": 20}, "runs": runs})
    return 0
