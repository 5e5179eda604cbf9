# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench surge``: many incidents at once, each for three people, until the last notice is handed over."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks import figures
from benchmarks.city import Fire, add_database_option, city, cpu_s, dispatcher, on_each, open_incidents
from benchmarks.subscriber import subscriber
from server.models import PolicyVersion

_BATCH = 50
# Three causes, so that three people are told of each.
_THREE = {"owner": "dispatch", "deputy": "respond.remind", "township": "respond.limit"}


def measure(kind: str, folder: Path, incidents: int, replicas: int) -> dict[str, Any]:
    """The seconds from the last alert's commit to the last notice in a subscriber's hand."""
    with city(kind, folder) as place, subscriber(place.broker) as arrived, ExitStack() as running:
        processes = [running.enter_context(dispatcher(place)) for _ in range(replicas)]
        cpu = sum(map(cpu_s, processes))
        with place.database.read() as session:
            policy = session.scalars(select(PolicyVersion.id)).one()
        start = time.monotonic()
        for first in range(0, incidents, _BATCH):
            numbers = range(first, min(first + _BATCH, incidents))
            fires = [Fire(number + 1, place.fields[number % len(place.fields)], _THREE) for number in numbers]
            with place.database.write() as session:
                open_incidents(session, policy, fires, datetime.now(UTC))
        committed = time.monotonic()
        wanted, end = 3 * incidents, time.monotonic() + 120
        while len(arrived) < wanted and time.monotonic() < end:
            time.sleep(0.02)
        cpu = sum(map(cpu_s, processes)) - cpu
        last = arrived[-1][1] if arrived else float("inf")
    return {
        "database": kind,
        "dispatchers": replicas,
        "incidents": incidents,
        "notices": wanted,
        "arrived": len(arrived),
        "dispatcher_cpu_s": round(cpu, 2),
        "committing_s": round(committed - start, 3),
        "all_in_hand_s": round(last - start, 3),
        "after_the_last_commit_s": round(last - committed, 3),
    }


def main(argv: Sequence[str]) -> int:
    """Measure on PostgreSQL and SQLite."""
    parser = argparse.ArgumentParser(prog="straw1530 bench surge", description=__doc__)
    parser.add_argument("--incidents", type=int, default=1000, help="default %(default)s")
    parser.add_argument("--dispatchers", type=int, default=1, help="how many share the work (default %(default)s)")
    add_database_option(parser)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    runs = on_each(args.database, lambda kind, folder: measure(kind, folder, args.incidents, args.dispatchers))
    figures.write(args.json, "surge", {"budget_s": 2, "runs": runs})
    return 0
