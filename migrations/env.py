# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alembic's entry: migrates the database it is given by ``server.admin.schema`` (or STRAW1530_DATA / _DATABASE)."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from server.db import Database
from server.models import Base
from server.settings import read_settings


def migrate(connection: Connection) -> None:
    """Run the migrations on an open connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    database = Database(read_settings().database_url)
    with database.engine.connect() as opened:
        migrate(opened)
        opened.commit()
    database.dispose()
