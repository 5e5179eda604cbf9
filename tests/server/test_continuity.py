# SPDX-License-Identifier: AGPL-3.0-or-later
"""The database's clock is set back, or the machine sleeps: what is due fires at its true time all the same."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from server.audit.checks import audit
from server.db import Database, DatabaseClock
from server.domain.lifecycle import Event
from server.engine.clock import ClockLoop
from server.models import ServerClock
from server.services.continuity import Continuity
from tests.support.world import START, World

HOUR = 3600.0


class Hands:
    """A wall clock and a steady one, moved by hand: ``pass_`` moves both, ``turn`` the wall's hands alone."""

    def __init__(self, at: datetime) -> None:
        self.wall, self.steady = at, 0.0
        self.slow = 0.0  # how long an answer of the database is on its way

    def pass_(self, seconds: float) -> None:
        """Time passes."""
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds

    def turn(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.wall += timedelta(seconds=seconds)

    def clock(self) -> Moved:
        """A process's clock."""
        return Moved(lambda: self.steady, self.tell)

    def tell(self) -> datetime:
        """The wall clock, as it stood when it was read."""
        at = self.wall
        self.pass_(self.slow)
        return at


class Moved(DatabaseClock):
    """On PostgreSQL the database's clock is read, and then put where the hands stand."""

    def _read(self, session: Session) -> tuple[datetime, int]:
        if session.get_bind().dialect.name == "sqlite":
            return super()._read(session)
        real, epoch = super()._read(session)
        ahead = session.execute(text("SELECT ahead_s FROM server_clock")).scalar_one()
        assert abs((real - datetime.now(UTC)).total_seconds() - ahead) < 60  # the column is taken into account
        return self._wall() + timedelta(seconds=ahead), epoch


@pytest.fixture
def hands() -> Hands:
    """At the beginning of the world."""
    return Hands(START)


def fire_at(world: World, hands: Hands) -> str:
    """A dispatched fire, now."""
    world.now = hands.wall
    return world.dispatched()


def swept(world: World, loop: ClockLoop, fire: str) -> list[str]:
    """What the clock's loop has written so far."""
    loop.step()
    return [
        entry.data["step"] for entry in world.journal(fire) if entry.actor == "system:clock" and entry.data.get("step")
    ]


def test_steps_armed_before_the_clock_was_set_back_fire_at_their_true_time(world: World, hands: Hands) -> None:
    """Set back an hour at the first minute: the reminder comes at the second, the breach at the fifth, none early."""
    fire, clock = fire_at(world, hands), hands.clock()
    loop, continuity = (
        ClockLoop(world.database, clock, lambda: hands.steady, lambda _fired: None),
        Continuity(world.database, clock),
    )
    continuity.resume()
    hands.pass_(60)
    assert swept(world, loop, fire) == []
    hands.turn(-HOUR)
    assert swept(world, loop, fire) == []
    assert continuity.step() == pytest.approx(HOUR, abs=0.1)
    assert continuity.step() == 0.0
    hands.pass_(59.9)
    assert swept(world, loop, fire) == []
    hands.pass_(0.2)
    assert swept(world, loop, fire) == ["respond.remind"]
    hands.pass_(180)
    assert swept(world, loop, fire) == ["respond.remind", "respond.limit"]
    lines = world.journal(fire)
    assert [entry.at for entry in lines] == sorted(entry.at for entry in lines)
    assert [entry.data["set_back_s"] for entry in lines if entry.event is Event.CLOCK_BACK] == [
        pytest.approx(HOUR, abs=0.1)
    ]
    assert not any(entry.data.get("caught_up") for entry in lines)


def test_before_it_is_written_down_a_process_goes_on_by_its_own_clock(world: World, hands: Hands) -> None:
    """Also where the process that writes it down is away."""
    fire, clock = fire_at(world, hands), hands.clock()
    loop = ClockLoop(world.database, clock, lambda: hands.steady, lambda _fired: None)
    assert swept(world, loop, fire) == []
    hands.turn(-HOUR)
    hands.pass_(120.1)
    assert swept(world, loop, fire) == ["respond.remind"]


def test_an_answer_around_the_step_is_measured_and_not_disputed(world: World, hands: Hands) -> None:
    """Four minutes by the steady clock are four minutes, whatever the wall says; a slow reading is no step back."""
    fire, clock = fire_at(world, hands), hands.clock()
    continuity = Continuity(world.database, clock)
    continuity.resume()
    hands.pass_(60)
    continuity.step()
    hands.turn(-HOUR)
    continuity.step()
    hands.pass_(180)
    with world.database.read() as session:
        world.now = clock.now(session)
    world.apply(fire, Event.ACCEPT, "worker-1")
    respond = world.clocks(fire)[1]
    assert (respond.verdict.value, respond.elapsed_s) == ("kept", pytest.approx(240, abs=0.1))


def test_replicas_write_it_down_once(world: World, hands: Hands) -> None:
    """Both notice; one line, one hour."""
    fire = fire_at(world, hands)
    pair = [Continuity(world.database, hands.clock()) for _ in range(2)]
    for one in pair:
        one.resume()
        one.step()
    hands.pass_(10)
    hands.turn(-HOUR)
    assert sum(one.step() for one in pair) == pytest.approx(HOUR, abs=0.1)
    assert world.events(fire).count("clock_back") == 1


def test_set_back_while_everything_was_down_makes_nothing_early_and_disputes_what_follows(
    world: World, hands: Hands
) -> None:
    """The record goes on from where it was last seen; how long it was down nobody knows, so kept becomes disputed."""
    fire = fire_at(world, hands)
    before = Continuity(world.database, hands.clock())
    before.resume()
    hands.pass_(60)
    before.step()
    hands.pass_(6)
    before.step()
    hands.turn(-HOUR)
    clock = hands.clock()  # another process
    assert Continuity(world.database, clock).resume() == pytest.approx(HOUR, abs=10)
    loop = ClockLoop(world.database, clock, lambda: hands.steady, lambda _fired: None)
    hands.pass_(53)
    assert swept(world, loop, fire) == []
    hands.pass_(8)
    assert swept(world, loop, fire) == ["respond.remind"]
    with world.database.read() as session:
        world.now = clock.now(session)
    world.apply(fire, Event.ACCEPT, "worker-1")
    respond = world.clocks(fire)[1]
    assert (respond.verdict.value, respond.reason) == ("disputed", "the server's clock was set back in between")


def test_when_nothing_is_open_the_record_follows_the_clock_again(world: World, hands: Hands) -> None:
    """Until then the auditor says so; a fire after that is dated by the clock as it was set."""
    fire, clock = fire_at(world, hands), hands.clock()
    continuity = Continuity(world.database, clock)
    continuity.resume()
    hands.turn(-HOUR)
    continuity.step()
    with world.database.write() as session:
        world.now = clock.now(session)
        session.execute(text("UPDATE callouts SET expanded_at = created_at"))
    with world.database.read() as session:
        assert "clock_set_back" in [found.check for found in audit(session, world.now)]
    hands.pass_(5)
    continuity.step()
    with world.database.read() as session:
        assert session.get_one(ServerClock, 1).ahead_s > 0
        world.now = clock.now(session)
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    continuity.step()
    with world.database.read() as session:
        assert session.get_one(ServerClock, 1).ahead_s == 0
        assert clock.look(session) == (hands.wall, 0.0)
    assert Continuity(world.database, hands.clock()).resume() == 0.0


def test_a_slow_reading_and_a_leap_ahead_are_no_step_back(world: World, hands: Hands) -> None:
    """A process held up for a minute between asking and being answered, and a day's sleep of the machine."""
    clock = hands.clock()
    with world.database.read() as session:
        clock.now(session)
        hands.turn(86_400.0)
        assert clock.look(session) == (hands.wall, 0.0)
        hands.slow = 60
        assert clock.look(session)[1] == 0.0
        assert clock.look(session)[1] == 0.0


def test_a_real_clock_set_back_under_a_running_engine(database: Database, world: World) -> None:
    """PostgreSQL's clock_timestamp itself is turned back an hour under a real loop: seconds late, not an hour."""
    if database.url.get_backend_name() == "sqlite":
        pytest.skip("the machine's own clock is not for a test to set")
    with database.write() as session:
        session.execute(text("CREATE TABLE hands (back interval)"))
        session.execute(text("INSERT INTO hands VALUES (interval '0')"))
        session.execute(
            text(
                "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
                " 'SELECT pg_catalog.clock_timestamp() - back FROM hands'"
            )
        )
        session.execute(text(f'ALTER DATABASE "{database.url.database}" SET search_path = public, pg_catalog'))
    database.dispose()
    clock, stop = DatabaseClock(), threading.Event()
    done = threading.Event()
    loop = ClockLoop(database, clock, fired=lambda _fired: done.set())
    with database.read() as session:
        world.now = clock.now(session) - timedelta(seconds=118)
    fire = world.dispatched()
    thread = threading.Thread(target=loop.run, args=(stop,), daemon=True)
    loop.step()
    with database.write() as session:
        session.execute(text("UPDATE hands SET back = interval '1 hour'"))
    thread.start()
    try:
        assert done.wait(60)
    finally:
        stop.set()
        thread.join()
    assert "remind" in world.events(fire)
