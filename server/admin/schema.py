# SPDX-License-Identifier: AGPL-3.0-or-later
"""The database's schema, brought up to date by the numbered migrations."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

import migrations
from server.db import Database
from server.settings import SettingsError


def _config() -> Config:
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def upgrade(database: Database) -> None:
    """Bring the schema to the newest version, from empty or from any earlier one. One transaction."""
    config = _config()
    with database.engine.connect() as connection:
        raw, sqlite = connection.connection, connection.dialect.name == "sqlite"
        if sqlite:
            # SQLite changes a table by making it anew, which its references must not notice; outside the transaction.
            raw.cursor().execute("PRAGMA foreign_keys=OFF")
        with connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
                raise SettingsError(f"the database {database.url!r} has rows that refer to nothing: {broken[:3]}")
        if sqlite:
            raw.cursor().execute("PRAGMA foreign_keys=ON")


def check(database: Database) -> None:
    """Raise alembic's CommandError when the models and the migrations differ."""
    config = _config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def require_current(database: Database) -> None:
    """Raise SettingsError, with the mend, unless the database answers and has the newest schema."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    try:
        with database.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        raise SettingsError(f"the database {database.url!r} cannot be opened: {error.orig}") from None
    if found != head:
        state = "is empty" if found is None else f"has schema {found}, this program needs {head}"
        raise SettingsError(f"the database {database.url!r} {state}: run `straw1530 admin init`")
