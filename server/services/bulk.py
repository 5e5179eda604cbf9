# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many rows in one statement. On PostgreSQL they travel as one JSON value that the server takes apart, which costs a
tenth of sending them one by one; on SQLite, in this process, one by one is as good."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, insert, text, update
from sqlalchemy.orm import Session

from server.models import Base

Rows = Sequence[Mapping[str, Any]]


class Writes:
    """Inserts and updates that go out together: on PostgreSQL as one statement, on SQLite one after the other. Objects
    the session has loaded do not notice."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sqlite = session.get_bind().dialect.name == "sqlite"
        self._parts: list[str] = []
        self._values: dict[str, str] = {}

    def insert(self, model: type[Base], rows: Rows) -> None:
        """Insert rows that all have the same columns."""
        if not rows:
            return
        table: Table = model.__table__  # type: ignore[assignment]
        if self._sqlite:
            self._session.connection().execute(insert(table), list(rows))
            return
        columns = ", ".join(rows[0])
        self._add(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {{new}}", table, rows)  # noqa: S608

    def update(self, model: type[Base], rows: Rows) -> None:
        """Set the given columns of the rows with the given ``id``; all have the same columns."""
        if not rows:
            return
        table: Table = model.__table__  # type: ignore[assignment]
        names = [name for name in rows[0] if name != "id"]
        if self._sqlite:
            statement = update(table).where(table.c.id == bindparam("key"))
            values = statement.values({name: bindparam(f"new_{name}") for name in names})
            self._session.connection().execute(
                values, [{"key": row["id"]} | {f"new_{name}": row[name] for name in names} for row in rows]
            )
            return
        changes = ", ".join(f"{name} = new.{name}" for name in names)
        self._add(
            f"UPDATE {table.name} SET {changes} FROM {{new}} AS new WHERE {table.name}.id = new.id",  # noqa: S608
            table,
            rows,
        )

    def _add(self, statement: str, table: Table, rows: Rows) -> None:
        """Names are those of our own tables and columns; values travel apart."""
        name = f"rows_{len(self._parts)}"
        new = f"json_populate_recordset(NULL::{table.name}, CAST(:{name} AS json))"
        self._parts.append(statement.format(new=new))
        self._values[name] = _json(rows)

    def run(self) -> None:
        """Send them."""
        if self._parts:
            together = ", ".join(f"part_{number} AS ({part})" for number, part in enumerate(self._parts))
            self._session.execute(text(f"WITH {together} SELECT 1"), self._values)
            self._parts, self._values = [], {}


def insert_rows(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert rows that all have the same columns. Objects the session has loaded do not notice."""
    writes = Writes(session)
    writes.insert(model, rows)
    writes.run()


def _json(rows: Rows) -> str:
    return json.dumps(list(rows), default=_iso, ensure_ascii=False)


def _iso(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    raise TypeError(f"{value!r} cannot travel as JSON")
