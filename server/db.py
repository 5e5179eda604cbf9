# SPDX-License-Identifier: AGPL-3.0-or-later
"""Engines, transactions and the one clock that decides deadlines: the database's."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.orm import Session

from server import wake


class Clock(Protocol):
    """Tells the time that decides."""

    def now(self, session: Session) -> datetime:
        """The present instant, aware, UTC."""
        ...


# A server that restarts is away longer: a connection used since then is as good as any.
IDLE_S = 0.2
# A clock may be steered gently; more than this between two looks is a step.
STEERED_S = 1.0


_AHEAD = text("SELECT ahead_s, epoch FROM server_clock")
_NOW = text("SELECT clock_timestamp(), ahead_s, epoch FROM server_clock")


class DatabaseClock:
    """The record's time: the database's clock, so that any number of replicas agree (SQLite's is this machine's), and
    carried on evenly when that is set back (ADR 11).

    A process sees it by its own steady clock at once; ``server.services.continuity`` writes it down for all.
    ``monotonic``: this machine's steady clock, seconds; ``wall``: SQLite's, aware.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._turn = threading.Lock()
        self._seen: tuple[int, datetime, float] | None = None  # epoch, record's time, steady clock

    def now(self, session: Session) -> datetime:
        """The instant of the call, not of the transaction's start."""
        return self.look(session)[0]

    def look(self, session: Session) -> tuple[datetime, float]:
        """The record's time, and by how many seconds the database's clock was set back without its being written
        down."""
        before = self._monotonic()
        at, epoch = self._read(session)
        with self._turn:
            missing = 0.0
            if self._seen is not None and self._seen[0] == epoch:
                # At least so much time has passed since: a reading that took long cannot look like a step back.
                least = self._seen[1] + timedelta(seconds=before - self._seen[2])
                if (missing := (least - at).total_seconds()) > STEERED_S:
                    at = least
                else:
                    missing = 0.0
            self._seen = epoch, at, self._monotonic()
            return at, missing

    def _read(self, session: Session) -> tuple[datetime, int]:
        if session.get_bind().dialect.name == "sqlite":
            # Only once the transaction holds its lock: a time taken while waiting for it would be before that of the
            # transaction it waited for.
            ahead_s, epoch = session.execute(_AHEAD).one()
            instant = self._wall()
        else:
            instant, ahead_s, epoch = session.execute(_NOW).one()
        return instant.astimezone(UTC) + timedelta(seconds=ahead_s), epoch


class Database:
    """A database with the two kinds of transaction: ``write`` and ``read``."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.engine = _engine(url)
        # A writing transaction on SQLite takes its lock at the start: no upgrade, no surprise.
        self._turn = threading.RLock()
        self._writer = self.engine.execution_options(straw_begin="BEGIN IMMEDIATE")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose transaction commits at the end of the block and rolls back on an exception.
        Wake-ups asked for in the block go out with the commit."""
        sqlite = self.url.get_backend_name() == "sqlite"
        # SQLite has one writer. Those of this process queue here, because its own way of waiting is to sleep and look.
        with self._turn if sqlite else nullcontext(), Session(self._writer, expire_on_commit=False) as session:
            with session.begin():
                yield session
                workers = wake.requested(session)
                if workers is not None and not sqlite:
                    wake.in_transaction(session, workers)
            if workers is not None and sqlite:
                wake.after_commit(self.url, workers)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent state and changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def dispose(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        engine = create_engine(url)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", partial(_ping_when_idle, engine.dialect))
        return engine
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 15})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _ping_when_idle(dialect: Dialect, connection: Any, record: Any, _proxy: Any) -> None:
    """See whether the server still knows a connection, as ``pool_pre_ping`` does before each use: a tenth of the time
    from an alert to the worker's hand."""
    if time.monotonic() - record.info.get("used", math.inf) < IDLE_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # Python's driver must not begin transactions by itself: _begin_sqlite decides how.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("straw_begin", "BEGIN"))


def refusal(error: DBAPIError) -> str:
    """What the database said, in one sentence; where it is only empty, what mends that."""
    reason = str(error.orig).splitlines()[0]
    empty = any(word in reason for word in ("no such table", "does not exist", "no such column"))
    return f"the database refused ({reason}){': run `straw1530 admin init`' if empty else ''}"
