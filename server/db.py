# SPDX-License-Identifier: AGPL-3.0-or-later
"""Engines, transactions and the one clock that decides deadlines: the database's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.orm import Session

from server import wake


class Clock(Protocol):
    """Tells the time that decides."""

    def now(self, session: Session) -> datetime:
        """The present instant, aware, UTC."""
        ...


class DatabaseClock:
    """The database's clock, so that any number of replicas agree. SQLite's is this machine's."""

    def now(self, session: Session) -> datetime:
        """``clock_timestamp()``: the instant of the call, not of the transaction's start."""
        if session.get_bind().dialect.name == "sqlite":
            # Only once the transaction holds its lock: a time taken while waiting for it would be before that of the
            # transaction it waited for.
            session.connection()
            return datetime.now(UTC)
        instant: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return instant.astimezone(UTC)


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
                if wake.requested(session) and not sqlite:
                    wake.in_transaction(session)
            if wake.requested(session) and sqlite:
                wake.after_commit(self.url)

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
        return create_engine(url, pool_pre_ping=True)
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 15})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


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
