# SPDX-License-Identifier: AGPL-3.0-or-later
"""The database's schema, brought up to date by the numbered migrations."""

from __future__ import annotations

from pathlib import Path

import migrations
from alembic import command
from alembic.config import Config

from server.db import Database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def upgrade(database: Database) -> None:
    """Bring the schema to the newest version, from empty or from any earlier one. One transaction."""
    config = _config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(database: Database) -> None:
    """Raise alembic's CommandError when the models and the migrations differ."""
    config = _config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)
