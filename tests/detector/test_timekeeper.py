# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's clock against the server's: known within a bound, whatever is done to either."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from detector.clock import SystemClock
from detector.link.outbox import Outbox
from detector.link.publisher import Broker, Publisher
from detector.link.timekeeper import DRIFT, Timekeeper, exchange
from detector.wire import ClockOffset, Interval, Sighting
from server.db import Database, DatabaseClock
from server.domain.clocks import Entry, intervals, stamps
from server.domain.lifecycle import Event, State
from server.domain.policy import Policy
from server.engine import wire as server_wire
from server.engine.broker import BrokerLink
from server.engine.intake import Intake
from tests.detector.make import START, StillClock, sighting
from tests.detector.test_publisher import EDGE, eventually
from tests.support.brokers import PASSWORDS, RunningBroker


class WrongClock(SystemClock):
    """A machine whose wall clock is wrong by so much, and can be set."""

    def __init__(self, wrong_s: float) -> None:
        self.wrong_s = wrong_s

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.wrong_s)


class LinkedClock(StillClock):
    """A box's two clocks in a simulated world: `true` is the true time; the crystal drifts, the wall may be set."""

    def __init__(self, drift: float = 0.0) -> None:
        super().__init__()
        self.true = 0.0
        self.set_by = 0.0
        self._drift = drift

    def pass_time(self, seconds: float) -> None:
        self.true += seconds
        self.seconds += seconds * (1 + self._drift)

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.set_by)


def ask(keeper: Timekeeper, clock: LinkedClock, there_s: float, back_s: float, server_ahead_s: float = 0.0) -> None:
    """One exchange over a link that takes so long each way."""
    keeper.connected()
    question = keeper.question()
    assert question is not None
    clock.pass_time(there_s)
    at = START + timedelta(seconds=clock.true + server_ahead_s)
    reply = json.loads(question) | {"received_at": at.isoformat(), "answered_at": at.isoformat()}
    clock.pass_time(back_s)
    keeper.answer(json.dumps(reply).encode(), clock.monotonic())


def wrong_by_ms(keeper: Timekeeper, clock: LinkedClock, server_ahead_s: float = 0.0) -> float:
    """How far the stated offset is from the truth now."""
    stamp = keeper.stamp()
    assert stamp.offset_ms is not None
    truth = START + timedelta(seconds=clock.true + server_ahead_s)
    return abs((truth - keeper.now()).total_seconds() * 1000 - stamp.offset_ms)


def error_ms(keeper: Timekeeper) -> float:
    stamp = keeper.stamp()
    assert stamp.error_ms is not None
    return stamp.error_ms


def test_time_in_which_the_machine_was_suspended_counts() -> None:
    """Or a box would tell that it had looked all along. 1,000 s are put before the boot of a namespace of its own."""
    code = "import time; from detector.clock import SystemClock; print(SystemClock().monotonic() - time.monotonic())"
    own = ["unshare", "--user", "--map-root-user", "--time", "--boottime", "1000", "--fork"]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("this machine makes no namespaces for time")
    done = subprocess.run([*own, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 999


@pytest.mark.parametrize("seed", range(20))
def test_the_truth_is_within_the_bound(seed: int) -> None:
    """Links slow and lopsided, crystals off by up to what is allowed, days without link: the bound holds always."""
    rng = random.Random(seed)
    clock = LinkedClock(rng.uniform(-DRIFT, DRIFT) * 0.99)
    keeper = Timekeeper(clock)
    for _ in range(40):
        ask(keeper, clock, rng.expovariate(5), rng.expovariate(50))
        assert wrong_by_ms(keeper, clock) <= error_ms(keeper)
        clock.pass_time(rng.choice([1, 60, 3600, 86400]))
        assert wrong_by_ms(keeper, clock) <= error_ms(keeper)


def test_the_quickest_exchange_is_believed() -> None:
    """One exchange of 4 ms among slow ones that are lopsided by a second decides."""
    clock = LinkedClock()
    keeper = Timekeeper(clock)
    for there in (1.0, 1.2, 0.002, 0.9, 1.1):
        ask(keeper, clock, there, 0.002)
    assert wrong_by_ms(keeper, clock) < 3
    assert error_ms(keeper) < 5


@pytest.mark.parametrize("jump_s", [5.0, -5.0, 86400.0])
def test_a_set_clock_is_noticed_and_changes_no_time(jump_s: float) -> None:
    """Once the server's distance is known, the box's times go on as if nothing had been set."""
    clock = LinkedClock()
    keeper = Timekeeper(clock)
    ask(keeper, clock, 0.01, 0.01)
    before, known = keeper.now(), keeper.stamp()
    clock.set_by = jump_s
    assert keeper.watch() == pytest.approx(jump_s)
    assert keeper.watch() is None
    clock.pass_time(2)
    assert keeper.now() - before == timedelta(seconds=2)
    assert keeper.stamp().scale == known.scale
    assert wrong_by_ms(keeper, clock) <= error_ms(keeper)


def test_a_clock_set_before_the_server_answered_begins_a_new_scale() -> None:
    """A box that started in 1970 and was then set tells the set time; what it saw before keeps its own scale."""
    clock = LinkedClock()
    clock.set_by = -50 * 365 * 86400
    keeper = Timekeeper(clock)
    old_at, old = keeper.now(), keeper.stamp()
    assert old.offset_ms is None
    clock.set_by = 0
    assert keeper.watch() is not None
    assert keeper.now() == START
    ask(keeper, clock, 0.01, 0.01)
    assert keeper.stamp(old_at, old) == old
    assert keeper.stamp().scale != old.scale


def test_what_was_seen_before_the_link_came_is_dated_afterwards() -> None:
    """A sighting made while nothing was known is stamped when it is sent; one made with better knowledge keeps it."""
    clock = LinkedClock()
    keeper = Timekeeper(clock)
    at, made = keeper.now(), keeper.stamp()
    clock.pass_time(600)
    ask(keeper, clock, 0.01, 0.01)
    stamped = keeper.stamp(at, made)
    assert stamped.offset_ms == pytest.approx(0, abs=12)
    assert stamped.error_ms == pytest.approx(11 + 1000 * 600 * DRIFT, abs=1)
    exact = ClockOffset(offset_ms=1.0, error_ms=0.5, scale=stamped.scale)
    assert keeper.stamp(at, exact) == exact


def test_a_server_whose_clock_is_set_is_believed_anew() -> None:
    """An answer that contradicts all before it ends them."""
    clock = LinkedClock()
    keeper = Timekeeper(clock)
    for _ in range(5):
        ask(keeper, clock, 0.001, 0.001)
    ask(keeper, clock, 0.01, 0.01, server_ahead_s=3600)
    assert wrong_by_ms(keeper, clock, server_ahead_s=3600) <= error_ms(keeper)


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"v":2,"id":"x","received_at":1,"answered_at":1}', b"\xff"])
def test_what_is_no_answer_is_said(payload: bytes) -> None:
    """ValueError, and nothing is learnt."""
    keeper = Timekeeper(LinkedClock())
    with pytest.raises(ValueError, match=r".+"):
        keeper.answer(payload, 0.0)
    assert keeper.stamp().offset_ms is None


def test_a_server_that_held_a_question_longer_than_it_was_away_is_not_believed() -> None:
    """Four timestamps that cannot be are refused."""
    with pytest.raises(ValueError, match="away"):
        exchange(0.0, 1.0, 100.0, 103.0)
    with pytest.raises(ValueError, match="away"):
        exchange(0.0, 1.0, 100.0, 99.0)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.sqlite")
    yield opened
    opened.close()


@contextmanager
def engine(database: Database, broker: RunningBroker, folder: Path) -> Iterator[None]:
    """The server's intake on a real broker."""
    link = BrokerLink(broker.user("engine"), "engine-test", threading.Event())
    link.start(Intake(database, DatabaseClock(), folder, link.publish).handle)
    try:
        yield
    finally:
        link.close()


@contextmanager
def sending(broker: RunningBroker, outbox: Outbox, keeper: Timekeeper) -> Iterator[None]:
    publisher = Publisher(EDGE, Broker(broker.host, broker.port, EDGE, PASSWORDS[EDGE]), outbox, keeper)
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,), daemon=True)
    publisher.start()
    thread.start()
    try:
        yield
    finally:
        stop.set()
        publisher.wake()
        thread.join(10)
        publisher.stop()


@pytest.mark.parametrize("wrong_s", [5.0, -5.0])
def test_a_clock_wrong_by_five_seconds_is_known_within_100_ms(
    wrong_s: float, broker: RunningBroker, database: Database, outbox: Outbox, tmp_path: Path
) -> None:
    """Over a real broker to the real intake and back, before and after the wall clock is set on top."""
    clock = WrongClock(wrong_s)
    keeper = Timekeeper(clock)
    with engine(database, broker, tmp_path), sending(broker, outbox, keeper):
        eventually(lambda: keeper.stamp().error_ms is not None and error_ms(keeper) < 100)
        assert keeper.stamp().offset_ms == pytest.approx(-1000 * wrong_s, abs=100)
        clock.wrong_s = -wrong_s
        eventually(lambda: (clock.now() - keeper.now()).total_seconds() == pytest.approx(-2 * wrong_s, abs=0.1))
        truth = (datetime.now(UTC) - keeper.now()).total_seconds() * 1000
        stamp = keeper.stamp()
        assert stamp.offset_ms == pytest.approx(truth, abs=100)
        assert stamp.error_ms is not None
        assert stamp.error_ms < 100


def seen_at(now: datetime) -> Sighting:
    """Smoke that was first seen between 59 and 57.5 s ago."""
    t0 = Interval(earliest=now - timedelta(seconds=59), latest=now - timedelta(seconds=57.5))
    return sighting().model_copy(update={"t1": now, "t0": t0})


def test_a_measured_clock_settles_the_discovery_interval(
    broker: RunningBroker, database: Database, outbox: Outbox, tmp_path: Path
) -> None:
    """57.5 to 59 s: kept on a clock five seconds wrong but measured, disputed on a right one that was not."""
    policy = Policy()
    keeper = Timekeeper(WrongClock(5.0))
    with engine(database, broker, tmp_path), sending(broker, outbox, keeper):
        eventually(lambda: keeper.stamp().error_ms is not None and error_ms(keeper) < 100)
        now, t2 = keeper.now(), datetime.now(UTC)
        measured = seen_at(now).to_bytes(now, keeper.stamp(now))
        unmeasured = seen_at(t2).to_bytes(t2)
    verdicts = {}
    for name, raw in (("measured", measured), ("unmeasured", unmeasured)):
        report = server_wire.to_report(server_wire.parse(server_wire.SightingMessage, raw), t2)
        assert report.t0_earliest is not None
        opening = {
            "t0_earliest": report.t0_earliest.isoformat(),
            "t0_latest": report.t0_latest.isoformat(),
            "t1": report.t1.isoformat(),
            "clock_offset_ms": report.clock_offset_ms,
            "clock_error_ms": report.clock_error_ms,
        }
        journal = [Entry(1, t2, Event.OPEN, None, State.SUSPECTED, "system:engine", opening)]
        verdicts[name] = intervals(stamps(journal, policy), policy, t2)[0]
    kept = verdicts["measured"]
    assert kept.verdict.value == "kept"
    assert kept.elapsed_s == pytest.approx(59, abs=0.2)
    assert kept.best_s == pytest.approx(57.5, abs=0.2)
    disputed = verdicts["unmeasured"]
    assert disputed.verdict.value == "disputed"
    assert (disputed.best_s, disputed.elapsed_s) == pytest.approx((55.5, 61), abs=0.01)
