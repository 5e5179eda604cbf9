# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench dispatch``: from the alert's commit to the notice in a subscriber's hand, over real mosquitto, with
the whole city's region and people, at a steady rate."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks import figures
from benchmarks.city import Fire, add_database_option, city, code_of, cpu_s, dispatcher, on_each, open_incidents
from benchmarks.subscriber import subscriber
from server.models import PolicyVersion


def measure(kind: str, folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Alerts at ``rate`` a second for so long; milliseconds from commit to hand."""
    with city(kind, folder) as place, subscriber(place.broker) as arrived, dispatcher(place) as process:
        cpu = cpu_s(process)
        committed: dict[str, float] = {}
        with place.database.read() as session:
            policy = session.scalars(select(PolicyVersion.id)).one()
        warm_up, number = int(rate), int(rate * seconds)
        start = time.monotonic()
        for turn in range(warm_up + number):
            time.sleep(max(0.0, start + turn / rate - time.monotonic()))
            with place.database.write() as session:
                field = place.fields[turn * 7 % len(place.fields)]
                fire = Fire(turn + 1, field, {"owner": "dispatch"})
                open_incidents(session, policy, [fire], datetime.now(UTC))
            committed[code_of(turn + 1)] = time.monotonic()
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
    parser.add_argument("--peer", action="store_true", help="pgqueuer beside it, in the same run (PostgreSQL)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    runs = on_each(args.database, lambda kind, folder: measure(kind, folder, args.rate, args.seconds))
    if args.peer:
        from benchmarks import pgqueuer_push

        with tempfile.TemporaryDirectory(prefix="straw1530-bench-") as folder:
            runs.append(pgqueuer_push.measure(Path(folder), args.rate, args.seconds))
    figures.write(args.json, "dispatch", {"budget_ms": {"p99": 20}, "runs": runs})
    return 0
