# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is found is on disk before it is sent, and stays there until the server says that it has it.

One SQLite file, written through to the disk at each commit. A sighting's message and picture are stored in one
transaction; the message is sent first, the picture after the message was acknowledged. When space runs out pictures
go before messages, and a message that was not sent never goes. When the disk takes nothing at all, sightings
wait in memory, are sent from there, and are written as soon as it does.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from detector.errors import OutboxError
from detector.wire import CoverageReport, Part, Sighting, as_text

log = logging.getLogger(__name__)

PICTURE_BUDGET = 256 * 1024 * 1024
MOST_PARKED = 1000
MOST_PICTURES_IN_MEMORY = 20
MOST_COVERAGE = 50_000
"""Reports: three months of four cameras without link, in about 30 MiB."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
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
_WAITING = """
SELECT id, 'sighting', stored_at, length(body), parked, 0 AS later, seq FROM messages
UNION ALL
SELECT id, 'coverage', stored_at, length(body), parked, 1 AS later, seq FROM coverage WHERE whole
UNION ALL
SELECT id, 'picture', stored_at, size, parked, 2 AS later, seq FROM pictures
ORDER BY later, seq
"""
_DUE_MESSAGES = "SELECT id FROM messages WHERE parked IS NULL ORDER BY seq LIMIT ?"
_DUE_COVERAGE = "SELECT id FROM coverage WHERE whole AND parked IS NULL ORDER BY seq LIMIT ?"
_PUT_COVERAGE = """
INSERT INTO coverage (id, stored_at, whole, body) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET stored_at = excluded.stored_at, whole = excluded.whole, body = excluded.body
"""
_FORGET_COVERAGE = "DELETE FROM coverage WHERE seq <= (SELECT max(seq) FROM coverage) - ?"
_DUE_PICTURES = """
SELECT id FROM pictures WHERE parked IS NULL AND id NOT IN (SELECT id FROM messages) ORDER BY seq LIMIT ?
"""
_OLDEST_PICTURE = "SELECT id, size FROM pictures ORDER BY parked IS NULL, seq LIMIT 1"
_FORGET_PARKED = """
DELETE FROM messages WHERE parked IS NOT NULL AND seq NOT IN
    (SELECT seq FROM messages WHERE parked IS NOT NULL ORDER BY seq DESC LIMIT ?)
"""
_DELETE: dict[Part, str] = {
    "sighting": "DELETE FROM messages WHERE id = ?",
    "coverage": "DELETE FROM coverage WHERE id = ?",
    "picture": "DELETE FROM pictures WHERE id = ?",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One line of the outbox: `parked` is the reason for which the server refused it for good."""

    id: str
    part: Part
    stored_at: str
    size: int
    parked: str | None


class Outbox:
    """Safe to use from several threads of one process; one process at a time."""

    def __init__(self, path: Path, picture_budget: int = PICTURE_BUDGET) -> None:
        """Open or create; a damaged file is put aside. Raises OutboxError when the folder cannot be written."""
        self._path = path
        self._budget = picture_budget
        self._lock = threading.RLock()
        self._messages: dict[str, Sighting] = {}
        self._pictures: dict[str, bytes] = {}
        self._complained = False
        self._database = _open(path)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def put(self, sighting: Sighting, jpeg: bytes | None, now: datetime) -> bool:
        """Keep a sighting; False when the disk would not take it and it waits in memory, which is logged."""
        with self._lock:
            self._messages[sighting.id] = sighting
            if jpeg is not None:
                self._pictures[sighting.id] = jpeg
            self.flush(now)
            while len(self._pictures) > MOST_PICTURES_IN_MEMORY:
                self._pictures.pop(next(iter(self._pictures)))
            return sighting.id not in self._messages

    def flush(self, now: datetime) -> None:
        """Write what waits in memory, oldest first, as far as the disk takes it."""
        with self._lock:
            try:
                for sighting in list(self._messages.values()):
                    self._write_sighting(sighting, now)
                for key in list(self._pictures):
                    self._write_picture(key, now)
            except OutboxError as error:
                if not self._complained:
                    log.error("%s: sightings wait in memory until there is room", error)
                self._complained = True
                return
            if self._complained:
                log.info("outbox %s: the disk takes writes again", self._path)
                self._complained = False

    def due(self, part: Part, limit: int) -> list[str]:
        """Ids to be sent now, oldest first: messages not refused; pictures whose message is acknowledged."""
        query = {"sighting": _DUE_MESSAGES, "coverage": _DUE_COVERAGE, "picture": _DUE_PICTURES}[part]
        with self._lock:
            on_disk = [key for (key,) in self._database.execute(query, (limit,))]
            if part == "coverage":
                return on_disk
            if part == "sighting":
                return (on_disk + list(self._messages))[:limit]
            in_memory = [key for key in self._pictures if self.sighting(key) is None]
            return ([key for key in on_disk if key not in self._messages] + in_memory)[:limit]

    def sighting(self, key: str) -> Sighting | None:
        """The message with this id, None when it is gone."""
        with self._lock:
            if key in self._messages:
                return self._messages[key]
            row = self._database.execute("SELECT body FROM messages WHERE id = ?", (key,)).fetchone()
        return Sighting.model_validate_json(row[0]) if row else None

    def picture(self, key: str) -> bytes | None:
        """The picture of the sighting with this id, None when it is gone."""
        with self._lock:
            if key in self._pictures:
                return self._pictures[key]
            row = self._database.execute("SELECT jpeg FROM pictures WHERE id = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None

    def put_coverage(self, report: CoverageReport, now: datetime, whole: bool) -> None:
        """Keep a report, in place of what was kept of it before; it is sent when `whole`, or after a new start.

        Raises OutboxError when the disk refuses.
        """
        with self._lock, self._transaction() as database:
            database.execute(_PUT_COVERAGE, (report.id, as_text(now), int(whole), report.model_dump_json()))
            database.execute(_FORGET_COVERAGE, (MOST_COVERAGE,))

    def coverage(self, key: str) -> CoverageReport | None:
        """The report with this id, None when it is gone."""
        with self._lock:
            row = self._database.execute("SELECT body FROM coverage WHERE id = ?", (key,)).fetchone()
        return CoverageReport.model_validate_json(row[0]) if row else None

    def stored(self, key: str, part: Part) -> None:
        """The server has it: forget it. Raises OutboxError when the disk refuses; it is then sent again."""
        with self._lock:
            if part == "sighting":
                self._messages.pop(key, None)
            elif part == "picture":
                self._pictures.pop(key, None)
            with self._transaction() as database:
                database.execute(_DELETE[part], (key,))

    def refused(self, key: str, part: Part, reason: str) -> None:
        """The server will never take it: park it with the reason. A refused message parks its picture too.

        Raises OutboxError when the disk refuses; it is then sent and refused again.
        """
        with self._lock, self._transaction() as database:
            if part == "sighting":
                database.execute("UPDATE messages SET parked = ? WHERE id = ?", (reason, key))
                database.execute(_FORGET_PARKED, (MOST_PARKED,))
            database.execute("UPDATE coverage SET parked = ? WHERE id = ?", (reason, key))
            database.execute("UPDATE pictures SET parked = ? WHERE id = ?", (reason, key))

    def listing(self) -> list[Waiting]:
        """All that is here, in the order of sending."""
        with self._lock:
            rows = self._database.execute(_WAITING).fetchall()
        return [Waiting(*row[:5]) for row in rows]

    def _write_sighting(self, sighting: Sighting, now: datetime) -> None:
        """Message and picture in one transaction; the message alone where the picture does not fit."""
        jpeg = self._pictures.get(sighting.id)
        try:
            with self._transaction() as database:
                _insert_message(database, sighting, now)
                if jpeg is not None:
                    self._insert_picture(database, sighting.id, jpeg, now)
        except OutboxError:
            if jpeg is None:
                raise
            with self._transaction() as database:
                _insert_message(database, sighting, now)
        else:
            self._pictures.pop(sighting.id, None)
        del self._messages[sighting.id]

    def _write_picture(self, key: str, now: datetime) -> None:
        """A picture whose message is on disk, or sent, already."""
        with self._transaction() as database:
            self._insert_picture(database, key, self._pictures[key], now)
        del self._pictures[key]

    def _insert_picture(self, database: sqlite3.Connection, key: str, jpeg: bytes, now: datetime) -> None:
        """Make room first: refused pictures go before waiting ones, the oldest first."""
        (used,) = database.execute("SELECT coalesce(sum(size), 0) FROM pictures").fetchone()
        while used and used + len(jpeg) > self._budget:
            oldest, size = database.execute(_OLDEST_PICTURE).fetchone()
            database.execute(_DELETE["picture"], (oldest,))
            log.warning("outbox %s: no room, dropped the picture of sighting %s", self._path, oldest)
            used -= size
        database.execute(
            "INSERT OR IGNORE INTO pictures (id, stored_at, jpeg, size) VALUES (?, ?, ?, ?)",
            (key, as_text(now), jpeg, len(jpeg)),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise OutboxError(f"outbox {self._path} cannot be written ({error}); free some disk space") from error


def _insert_message(database: sqlite3.Connection, sighting: Sighting, now: datetime) -> None:
    database.execute(
        "INSERT OR IGNORE INTO messages (id, stored_at, body) VALUES (?, ?, ?)",
        (sighting.id, as_text(now), sighting.model_dump_json()),
    )


def _open(path: Path) -> sqlite3.Connection:
    """Raises OutboxError. A file that is no longer a database is kept beside, for a person to look at."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = f"{path.name}.damaged-{path.stat().st_mtime_ns}"
            log.error("outbox %s is damaged (%s): kept as %s, starting an empty one", path, error, aside)
            for suffix in ("-wal", "-shm", ""):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(path.with_name(aside + suffix))
            return _connect(path)
    except (OSError, sqlite3.Error) as error:
        raise OutboxError(f"outbox {path} cannot be opened ({error}): check data_dir and its permissions") from error


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
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
