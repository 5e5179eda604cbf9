# SPDX-License-Identifier: AGPL-3.0-or-later
"""Connections that the server has forgotten."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from server.db import Database


def cut(database: Database) -> None:
    """The server ends all connections of the pool, as at a restart."""
    other = Database(database.url.render_as_string(hide_password=False))
    with other.write() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()


def pid(database: Database) -> int:
    with database.read() as session:
        return int(session.execute(text("SELECT pg_backend_pid()")).scalar_one())


ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@ON_POSTGRESQL
def test_connections_that_were_cut_while_idle_are_replaced_unseen(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.read() as first, database.read() as second:
        before = {session.execute(text("SELECT pg_backend_pid()")).scalar_one() for session in (first, second)}
    assert len(before) == 2
    cut(database)
    monkeypatch.setattr("server.db.IDLE_S", 0.0)
    with database.read() as first, database.read() as second:
        after = {session.execute(text("SELECT pg_backend_pid()")).scalar_one() for session in (first, second)}
    assert len(after) == 2
    assert not before & after


@ON_POSTGRESQL
def test_a_connection_in_steady_use_is_asked_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    pings = 0
    ping = database.engine.dialect.do_ping

    def counted(connection: object) -> bool:
        nonlocal pings
        pings += 1
        return ping(connection)

    monkeypatch.setattr(database.engine.dialect, "do_ping", counted)
    monkeypatch.setattr("server.db.IDLE_S", 3600.0)
    first = pid(database)
    assert pid(database) == first
    assert pings == 0
    # Cut in the middle of steady use: one transaction fails, as it does when it is cut half-way, and the next goes on.
    cut(database)
    with pytest.raises(OperationalError):
        pid(database)
    assert pid(database) != first
    monkeypatch.setattr("server.db.IDLE_S", 0.0)
    pid(database)
    assert pings == 1
