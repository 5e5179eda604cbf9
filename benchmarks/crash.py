# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench crash``: engine clocks killed -9 at random while deadlines come due; every step must fire once."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import func, select

from benchmarks import clockwork, figures
from server.db import Database, DatabaseClock
from server.engine.clock import ClockLoop
from server.models import Callout, Deadline, Incident, JournalEntry
from server.services import journal

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["benchmarks.crash"])


def replica(url: str) -> None:
    """One engine's clock, as in production, until it is killed."""
    ClockLoop(Database(url), DatabaseClock(), fired=lambda _fired: None).run(Event())


def run(opened: Database, *, kills: int, replicas: int, deadlines: int, every_s: float, seed: int) -> dict[str, Any]:
    """Arm, kill, let the last one finish, and count. ``every_s``: the mean time from kill to kill."""
    chance = random.Random(seed)
    policy = clockwork.add_policy(opened)
    start = datetime.now(UTC) + timedelta(seconds=2)
    span = kills * every_s
    clockwork.arm(opened, policy, [start + timedelta(seconds=chance.uniform(0, span)) for _ in range(deadlines)])
    url = opened.url.render_as_string(hide_password=False)
    opened.dispose()
    running = [_start(url) for _ in range(replicas)]
    began, last_kill = time.monotonic(), start
    try:
        for number in range(kills):
            time.sleep(chance.uniform(0, 2 * every_s))
            victim = running[number % replicas]
            victim.kill()
            victim.join()
            running[number % replicas] = _start(url)
        last_kill = datetime.now(UTC)
        _wait_until_all_fired(opened, timeout_s=60 + deadlines / 200)
    finally:
        for process in running:
            process.kill()
            process.join()
    found = {"kills": kills, "replicas": replicas, "took_s": time.monotonic() - began, **count(opened, deadlines)}
    with opened.read() as session:
        # Engines that are killed before they have begun prove nothing.
        amid = session.scalar(select(func.count()).where(Deadline.fired_at < last_kill))
    return found | {"fired_amid_kills": amid}


def _start(url: str) -> BaseProcess:
    process = _FORK.Process(target=replica, args=(url,), daemon=True)
    process.start()
    return process


def _wait_until_all_fired(opened: Database, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with opened.read() as session:
            if not session.scalar(select(func.count()).where(Deadline.fired_at.is_(None))):
                return
        time.sleep(0.2)


def count(opened: Database, deadlines: int) -> dict[str, Any]:
    """What is in the record: each of these is 0 when every step fired once, never early, with its effects."""
    with opened.read() as session:
        lines = select(JournalEntry.incident_id).where(JournalEntry.actor == "system:clock")
        per_incident = lines.group_by(JournalEntry.incident_id).having(func.count() > 1).subquery()
        calls = session.scalar(select(func.count()).select_from(Callout)) or 0
        fired = session.scalar(select(func.count()).where(Deadline.fired_at.is_not(None))) or 0
        broken = [one for one in session.scalars(select(Incident.id)) if journal.first_broken_line(session, one)]
        late = [
            (row.fired_at - row.due_at).total_seconds()
            for row in session.execute(select(Deadline.fired_at, Deadline.due_at).where(Deadline.fired_at.is_not(None)))
        ]
        return {
            "deadlines": deadlines,
            "lost": deadlines - fired,
            "fired_without_line": fired - (session.scalar(select(func.count()).select_from(lines.subquery())) or 0),
            "fired_twice": session.scalar(select(func.count()).select_from(per_incident)) or 0,
            "callouts_missing_or_double": 2 * fired - calls,
            "early": sum(seconds <= 0 for seconds in late),
            "broken_chains": len(broken),
            "lateness_s": figures.spread(late),
        }


def main(argv: Sequence[str]) -> int:
    """1 when anything was lost, doubled or early, or when no engine lived long enough to fire."""
    parser = argparse.ArgumentParser(prog="straw1530 bench crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--deadlines", type=int, default=5000)
    parser.add_argument("--every", type=float, default=0.08, help="mean seconds from kill to kill")
    parser.add_argument("--seed", type=int, default=1530)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], action="append")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    for kind in args.database or ["postgresql", "sqlite"]:
        with clockwork.database(kind) as opened:
            found[kind] = clockwork.settings_of(opened) | run(
                opened,
                kills=args.kills,
                replicas=args.replicas,
                deadlines=args.deadlines,
                every_s=args.every,
                seed=args.seed,
            )
    figures.write(args.json, "crash", found)
    wrong = ("lost", "fired_without_line", "fired_twice", "callouts_missing_or_double", "early", "broken_chains")
    sound = [one["fired_amid_kills"] and not any(one[name] for name in wrong) for one in found.values()]
    return 0 if all(sound) else 1
