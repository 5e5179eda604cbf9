# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench deadlines``: lateness with many armed, draining after an outage, silence after an answer."""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks import clockwork, figures, peers
from server.db import Database, DatabaseClock
from server.domain.lifecycle import Event
from server.engine.clock import ClockLoop
from server.models import Incident, JournalEntry, Person
from server.services import actors, incidents
from server.services.deadlines import Fired


class Committed:
    """Collects how long after its due moment each step was committed, by this machine's clock. Seconds."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.early = 0

    def __call__(self, fired: Sequence[Fired]) -> None:
        now = datetime.now(UTC)
        self.early += sum(item.fired_at <= item.due_at for item in fired)
        self.late += [(now - item.due_at).total_seconds() for item in fired]


def lateness(opened: Database, policy: int, *, armed: int, due: int, within_s: float) -> dict[str, Any]:
    """``due`` steps at random moments within a window, with ``armed`` standing beside them; one engine."""
    chance = random.Random(1530)
    # Far enough ahead for the arming itself.
    start = datetime.now(UTC) + timedelta(seconds=3 + (armed + due) / 2_000)
    clockwork.arm(opened, policy, [start + timedelta(seconds=chance.uniform(0, within_s)) for _ in range(due)], armed)
    late = Committed()
    stop = threading.Event()
    thread = threading.Thread(target=ClockLoop(opened, DatabaseClock(), fired=late).run, args=(stop,))
    spare = (start - datetime.now(UTC)).total_seconds()
    thread.start()
    end = time.monotonic() + max(spare, 0) + within_s + 30
    while len(late.late) < due and time.monotonic() < end:
        time.sleep(0.2)
    stop.set()
    thread.join()
    return {
        "armed": armed + due,
        "due": due,
        "within_s": within_s,
        "spare_s": spare,
        "fired": len(late.late),
        "early": late.early,
        "lateness_s": figures.spread(late.late),
    }


def drain(opened: Database, policy: int, *, overdue: int) -> dict[str, Any]:
    """Everything came due while all was down: one engine comes back."""
    start = datetime.now(UTC) - timedelta(hours=1)
    clockwork.arm(opened, policy, [start + timedelta(milliseconds=n) for n in range(overdue)])
    late = Committed()
    loop = ClockLoop(opened, DatabaseClock(), fired=late)
    began, cpu = time.perf_counter(), time.process_time()
    loop.step()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"overdue": overdue, "fired": len(late.late), "took_s": took, "engine_cpu_s": cpu}


def answers(opened: Database, policy: int, *, trials: int) -> dict[str, Any]:
    """An acceptance at about the moment of an escalation: how long from the tap to its commit, after which no step of
    the response ladder may be recorded."""
    with opened.write() as session:
        person = Person(login="bench", name="b", language="zh", role="worker", area_code="330802", active=True)
        session.add(person)
        session.flush()
        number = person.id
    chance = random.Random(1530)
    start = datetime.now(UTC) + timedelta(seconds=3)
    moments = [start + timedelta(milliseconds=25 * n) for n in range(trials)]
    clockwork.arm(opened, policy, moments)
    with opened.read() as session:
        newest = select(Incident.id, Incident.code).order_by(Incident.id.desc()).limit(trials)
        codes = [code for _, code in reversed(session.execute(newest).all())]
    stop, clock = threading.Event(), DatabaseClock()
    thread = threading.Thread(target=ClockLoop(opened, clock, fired=lambda _fired: None).run, args=(stop,))
    thread.start()
    took = []
    for moment, code in zip(moments, codes, strict=True):
        wait = (moment - datetime.now(UTC)).total_seconds() + chance.uniform(-0.01, 0.01)
        time.sleep(max(0.0, wait))
        began = time.perf_counter()
        with opened.write() as session:
            who = actors.person(session.get_one(Person, number))
            incidents.apply(session, code, Event.ACCEPT, actor=who, now=clock.now(session))
        took.append(time.perf_counter() - began)
    time.sleep(1.0)
    stop.set()
    thread.join()
    return {"trials": trials, "accept_to_last_escalation_s": figures.spread(took), **_after(opened, codes)}


def _after(opened: Database, codes: Sequence[str]) -> dict[str, int]:
    fired = after = 0
    with opened.read() as session:
        for code in codes:
            events = session.scalars(
                select(JournalEntry.event).join(Incident).where(Incident.code == code).order_by(JournalEntry.seq)
            ).all()
            at = events.index("accept")
            fired += "remind" in events[:at]
            after += "remind" in events[at:]
    return {"escalated_before": fired, "escalated_after_the_commit": after}


def main(argv: Sequence[str]) -> int:
    """1 when a step was early, lost, or came after an answer."""
    parser = argparse.ArgumentParser(prog="straw1530 bench deadlines", description=__doc__)
    parser.add_argument("--armed", type=int, default=90_000, help="standing beside those that come due")
    parser.add_argument("--due", type=int, default=10_000)
    parser.add_argument("--within", type=float, default=60.0, help="seconds")
    parser.add_argument("--overdue", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], action="append")
    parser.add_argument("--peer", choices=sorted(peers.PEERS), action="append", default=[], help="measure beside ours")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    for kind in args.database or ["postgresql", "sqlite"]:
        with clockwork.database(kind) as opened:
            policy = clockwork.add_policy(opened)
            found[kind] = clockwork.settings_of(opened) | {
                "drain": drain(opened, policy, overdue=args.overdue),
                "answers": answers(opened, policy, trials=args.trials),
                "lateness": lateness(opened, policy, armed=args.armed, due=args.due, within_s=args.within),
            }
    for name in args.peer:
        with clockwork.database("postgresql") as opened:
            found[name] = peers.PEERS[name](opened, due=args.due, within_s=args.within)
    figures.write(args.json, "deadlines", found)
    ours = [one for name, one in found.items() if name in ("postgresql", "sqlite")]
    wrong = any(
        one["lateness"]["early"]
        or one["lateness"]["fired"] != args.due
        or one["drain"]["fired"] != args.overdue
        or one["answers"]["escalated_after_the_commit"]
        for one in ours
    )
    return 1 if wrong else 0
