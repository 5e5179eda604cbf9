# SPDX-License-Identifier: AGPL-3.0-or-later
"""The outbox's file: opened, made, and after damage begun anew with what can still be read of the old one."""

from __future__ import annotations

import errno
import glob
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from detector.errors import NoRoomError, OutboxError
from detector.wire import CoverageReport, Onset, Sighting

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    stored_at TEXT NOT NULL,
    body TEXT NOT NULL,
    parked TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS onsets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    sighting TEXT NOT NULL,
    stored_at TEXT NOT NULL,
    body TEXT NOT NULL,
    parked TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS coverage (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    stored_at TEXT NOT NULL,
    whole INTEGER NOT NULL,
    body TEXT NOT NULL,
    parked TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS pictures (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    stored_at TEXT NOT NULL,
    size INTEGER NOT NULL,
    parked TEXT,
    jpeg BLOB NOT NULL -- last, so that the rest is read without it
) STRICT;
"""
UNREAD = ".unread"
"""At the end of a damaged file's name: not all that can be read of it has been taken over yet."""
_FAILED_READS = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
LARGEST = 2**31
"""Bytes. A header that states more is damaged itself."""
# In the order of worth.
_BODIES: dict[str, type[BaseModel] | None] = {
    "messages": Sighting,
    "onsets": Onset,
    "coverage": CoverageReport,
    "pictures": None,
}


def open_outbox(path: Path) -> sqlite3.Connection:
    """A file that is no longer a whole database is kept beside, for a person to look at. Raises OutboxError,
    NoRoomError where the disk has no room for it now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unread = next(path.parent.glob(f"{glob.escape(path.name)}.damaged-*{UNREAD}"), None)
        try:
            if unread is None:
                return _connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.error("outbox %s is damaged (%s): starting anew with what can be read of it", path, error)
            unread = path.with_name(f"{path.name}.damaged-{path.stat().st_mtime_ns}{UNREAD}")
        return _begin_anew(path, unread)
    except (OSError, sqlite3.Error) as error:
        if _no_room(error):
            raise NoRoomError(f"outbox {path} cannot be opened ({error}): free some disk space") from error
        raise OutboxError(f"outbox {path} cannot be opened ({error}): check data_dir and its permissions") from error


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file as it is, which a running box may be writing: nothing in it is changed. Raises sqlite3.Error."""
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    database.text_factory = _as_text
    return database


def in_memory() -> sqlite3.Connection:
    """An empty one that is nowhere."""
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database.executescript(_SCHEMA)
    return database


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself fails: torn, overwritten, or on a disk that no longer reads it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or code in _FAILED_READS


def _no_room(error: Exception) -> bool:
    """Full, or unable to take what a write-ahead log needs, which SQLite calls an I/O error."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.text_factory = _as_text
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(_SCHEMA)
        # What an earlier start left unfinished is all that there will be of it.
        database.execute("UPDATE coverage SET whole = 1 WHERE NOT whole")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _begin_anew(path: Path, unread: Path) -> sqlite3.Connection:
    """With what can be read of the damaged file, kept as `unread` until all of it is taken over: what ends this half
    way, a power cut or a full disk, has it done once more at the next start."""
    if not unread.exists():
        path.rename(unread)
    if not path.exists():  # what lies beside belongs to the damaged one until there is a new one
        _rename(path, unread, "-wal", "-shm")
    database = _connect(path)
    try:
        saved = _salvage(unread, database)
    except sqlite3.Error:
        database.close()
        raise
    kept = unread.with_name(unread.name.removesuffix(UNREAD))
    _rename(unread, kept, "-wal", "-shm", "")
    log.error("outbox %s: %s taken over, the damaged file is kept as %s", path, saved, kept.name)
    return database


def _rename(old: Path, new: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        part = old.with_name(old.name + suffix)
        if part.exists():
            part.rename(new.with_name(new.name + suffix))


def _salvage(damaged: Path, into: sqlite3.Connection) -> str:
    """Take over each row that can be read and understood; returns how many of which table."""
    counts = []
    _lengthen(damaged)
    with closing(sqlite3.connect(damaged, isolation_level=None)) as source:
        source.text_factory = _as_text
        for table, body in _BODIES.items():
            columns = [row[1] for row in into.execute(f"PRAGMA table_info({table})")]
            into.execute("BEGIN IMMEDIATE")
            for row in _readable(source, table, columns):
                if body is None or _understood(body, row[columns.index("body")]):
                    marks = ", ".join("?" * len(row))
                    into.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 - own names
            into.execute("COMMIT")
            (count,) = into.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - own names
            counts.append(f"{count} {table}")
    return ", ".join(counts)


def _lengthen(path: Path) -> None:
    """Give a file whose end is cut off the length that its header states: SQLite reads no page of it otherwise."""
    with path.open("r+b") as file:
        header = file.read(32)
        if header.startswith(b"SQLite format 3\0"):
            page, count = int.from_bytes(header[16:18]), int.from_bytes(header[28:32])
            whole = (65_536 if page == 1 else page) * count
            if path.stat().st_size < whole <= LARGEST:
                file.truncate(whole)


def _readable(source: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """Rows up to the damage from the one end, and from the other."""
    for order in ("ASC", "DESC"):
        try:
            yield from source.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY seq {order}")  # noqa: S608
        except sqlite3.DatabaseError as error:
            log.warning("damaged outbox, table %s: %s", table, error)
        else:
            return


def _as_text(data: bytes) -> str:
    """A damaged letter is no reason to read nothing."""
    return data.decode("utf-8", "replace")


def _understood(kind: type[BaseModel], text: str) -> bool:
    try:
        kind.model_validate_json(text)
    except ValidationError:
        return False
    return True
