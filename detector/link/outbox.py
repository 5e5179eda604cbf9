# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is found is on disk before it is sent, and stays there until the server says that it has it.

One SQLite file, written through to the disk at each commit. A sighting's message and picture are stored in one
transaction; the message is sent first, the picture after the message was acknowledged; an onset's follow its sighting.
When space runs out pictures go before messages, and a message that was not sent never goes. When the disk takes
nothing at all, sightings and onsets wait in memory, are sent from there, and are written as soon as it does. A file
that is damaged while the box runs is left, and opened again with what can still be read of it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from detector.errors import NoRoomError, OutboxError
from detector.link import outboxstatements as statements
from detector.link.outboxfile import in_memory, is_damage, open_outbox, open_to_read
from detector.wire import CoverageReport, Onset, Part, Sighting, as_text

log = logging.getLogger(__name__)

PICTURE_BUDGET = 256 * 1024 * 1024
MOST_PARKED = 1000
MOST_BYTES_IN_MEMORY = 16 * 1024 * 1024
"""Of pictures that the disk does not take: some thirty."""
MOST_COVERAGE = 50_000
"""Reports: three months of four cameras without link, in about 30 MiB."""

Kind = TypeVar("Kind", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One line of the outbox: `parked` is the reason for which the server refused it for good."""

    id: str
    part: Part
    stored_at: str
    size: int
    parked: str | None


def look_into(path: Path) -> list[Waiting]:
    """What `Outbox.listing` says, for another process than the one whose outbox it is. Raises OutboxError."""
    try:
        with closing(open_to_read(path)) as database:
            return [Waiting(*row[:5]) for row in database.execute(statements.WAITING)]
    except sqlite3.Error as error:
        raise OutboxError(f"outbox {path} cannot be read ({error}): check its owner") from error


class Outbox:
    """Safe to use from several threads of one process; one process at a time."""

    def __init__(self, path: Path, picture_budget: int = PICTURE_BUDGET) -> None:
        """Open or create; a damaged file is put aside, and what can be read of it taken over.

        A disk without room for it does not stop the box: the file is opened as soon as there is some. Raises
        OutboxError when the folder cannot be written.
        """
        self._path = path
        self._budget = picture_budget
        self._lock = threading.RLock()
        self._messages: dict[str, Sighting | Onset] = {}
        self._pictures: dict[str, bytes] = {}
        self._complained = False
        self._homeless = False
        try:
            self._database = open_outbox(path)
        except NoRoomError as error:
            log.error("%s: what is found waits in memory until then", error)
            self._database, self._homeless = in_memory(), True

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def put(self, sighting: Sighting, jpeg: bytes | None, now: datetime) -> bool:
        """Keep a sighting; False when the disk would not take it and it waits in memory, which is logged."""
        return self._put(sighting, {} if jpeg is None else {sighting.id: jpeg}, now)

    def flush(self, now: datetime) -> None:
        """Write what waits in memory, oldest first, as far as the disk takes it."""
        with self._lock:
            try:
                self._come_home()
                for message in list(self._messages.values()):
                    self._write_message(message, now)
                for key in list(self._pictures):
                    self._write_picture(key, now)
            except OutboxError as error:
                if not self._complained:
                    log.error("%s: alarms wait in memory until there is room", error)
                self._complained = True
                return
            if self._complained:
                log.info("outbox %s: the disk takes writes again", self._path)
                self._complained = False

    def due(self, part: Part, limit: int) -> list[str]:
        """Ids to be sent now, oldest first: messages not refused; pictures whose message is acknowledged."""
        with self._lock:
            on_disk = [key for (key,) in self._read(statements.DUE[part], limit)]
            if part == "picture":
                on_disk = [key for key in on_disk if key[:36] not in self._messages]
            return (on_disk + self._due_in_memory(part))[:limit]

    def sighting(self, key: str) -> Sighting | None:
        """The message with this id, None when it is gone."""
        with self._lock:
            waiting = self._messages.get(key)
            if isinstance(waiting, Sighting):
                return waiting
            return self._body(Sighting, "sighting", key)

    def picture(self, key: str) -> bytes | None:
        """The picture of the sighting with this id, None when it is gone."""
        with self._lock:
            if key in self._pictures:
                return self._pictures[key]
            rows = self._read("SELECT jpeg FROM pictures WHERE id = ?", key)
        return bytes(rows[0][0]) if rows else None

    def put_onset(self, onset: Onset, pictures: Mapping[str, bytes], now: datetime) -> bool:
        """Keep an onset with its pictures by their ids; it is sent once its sighting is at the server. False as in
        `put`."""
        return self._put(onset, pictures, now)

    def onset(self, key: str) -> Onset | None:
        """The onset with this id, None when it is gone."""
        with self._lock:
            waiting = self._messages.get(key)
            if isinstance(waiting, Onset):
                return waiting
            return self._body(Onset, "onset", key)

    def put_coverage(self, report: CoverageReport, now: datetime, whole: bool) -> None:
        """Keep a report, in place of what was kept of it before; it is sent when `whole`, or after a new start.

        Raises OutboxError when the disk refuses.
        """
        with self._lock, self._transaction() as database:
            database.execute(statements.PUT_COVERAGE, (report.id, as_text(now), int(whole), report.model_dump_json()))
            database.execute(statements.FORGET_COVERAGE, (MOST_COVERAGE,))

    def coverage(self, key: str) -> CoverageReport | None:
        """The report with this id, None when it is gone."""
        with self._lock:
            return self._body(CoverageReport, "coverage", key)

    def stored(self, key: str, part: Part) -> None:
        """The server has it: forget it. Raises OutboxError when the disk refuses; it is then sent again."""
        with self._lock:
            waiting = self._pictures if part == "picture" else self._messages
            if waiting.pop(key, None) is None:
                with self._transaction() as database:
                    database.execute(statements.DELETE[part], (key,))

    def refused(self, key: str, part: Part, reason: str) -> None:
        """The server will never take it: park it with the reason, and all that follows it.

        Raises OutboxError when the disk refuses; it is then sent and refused again.
        """
        with self._lock, self._transaction() as database:
            if part == "sighting":
                database.execute("UPDATE messages SET parked = ? WHERE id = ?", (reason, key))
                database.execute(statements.FORGET_PARKED, (MOST_PARKED,))
            if part in ("sighting", "onset"):
                database.execute("UPDATE onsets SET parked = ? WHERE ? IN (id, sighting)", (reason, key))
            database.execute("UPDATE coverage SET parked = ? WHERE id = ?", (reason, key))
            database.execute(statements.PARK_PICTURES, (reason, key, key))
            database.execute(statements.FORGET_PARKED_ONSETS, (MOST_PARKED,))

    @property
    def unwritten(self) -> int:
        """Sightings and onsets that the disk has not taken: a power cut would lose them."""
        return len(self._messages)

    def listing(self) -> list[Waiting]:
        """All that is on disk, in the order of sending."""
        with self._lock:
            rows = self._read(statements.WAITING)
        return [Waiting(*row[:5]) for row in rows]

    def _put(self, message: Sighting | Onset, pictures: Mapping[str, bytes], now: datetime) -> bool:
        with self._lock:
            self._messages[message.id] = message
            self._pictures.update(pictures)
            self.flush(now)
            while sum(map(len, self._pictures.values())) > MOST_BYTES_IN_MEMORY:
                self._pictures.pop(next(iter(self._pictures)))
            return message.id not in self._messages

    def _due_in_memory(self, part: Part) -> list[str]:
        if part == "sighting":
            return [key for key, message in self._messages.items() if isinstance(message, Sighting)]
        if part == "onset":
            onsets = [message for message in self._messages.values() if isinstance(message, Onset)]
            return [onset.id for onset in onsets if self.sighting(onset.sighting) is None]
        if part == "picture":
            return [key for key in self._pictures if self.sighting(key[:36]) is None and self.onset(key[:36]) is None]
        return []

    def _read(self, query: str, *values: object) -> list[Any]:
        """The rows; from a file that has become unreadable none, and it is opened anew before the next write."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._leave(error):
                raise OutboxError(f"outbox {self._path} cannot be read ({error})") from error
            return self._database.execute(query, values).fetchall()

    def _body(self, kind: type[Kind], part: Part, key: str) -> Kind | None:
        """A message from the disk. One that can no longer be understood is parked: it must not keep others back."""
        rows = self._read(statements.BODY[part], key)
        try:
            return kind.model_validate_json(rows[0][0]) if rows else None
        except ValidationError as error:
            log.error("outbox %s: %s %s can no longer be read and is parked: %s", self._path, part, key, error)
        try:
            self.refused(key, part, "it can no longer be read on this box's disk")
        except OutboxError as error:
            log.error("%s", error)
        return None

    def _write_message(self, message: Sighting | Onset, now: datetime) -> None:
        """Message and pictures in one transaction; the message alone where the pictures do not fit."""
        own = {key: jpeg for key, jpeg in self._pictures.items() if key[:36] == message.id}
        try:
            self._write(message, own, now)
        except OutboxError:
            if not own:
                raise
            self._write(message, {}, now)
        else:
            for key in own:
                del self._pictures[key]
        del self._messages[message.id]

    def _write(self, message: Sighting | Onset, pictures: Mapping[str, bytes], now: datetime) -> None:
        body = message.model_dump_json()
        with self._transaction() as database:
            if isinstance(message, Sighting):
                database.execute(statements.PUT_MESSAGE, (message.id, as_text(now), body))
            else:
                database.execute(statements.PUT_ONSET, (message.id, message.sighting, as_text(now), body))
            for key, jpeg in pictures.items():
                self._insert_picture(database, key, jpeg, now)

    def _write_picture(self, key: str, now: datetime) -> None:
        """A picture whose message is on disk, or sent, already."""
        with self._transaction() as database:
            self._insert_picture(database, key, self._pictures[key], now)
        del self._pictures[key]

    def _insert_picture(self, database: sqlite3.Connection, key: str, jpeg: bytes, now: datetime) -> None:
        """Make room first: refused pictures go before waiting ones, the oldest first."""
        (used,) = database.execute("SELECT coalesce(sum(size), 0) FROM pictures").fetchone()
        while used and used + len(jpeg) > self._budget:
            oldest, size = database.execute(statements.OLDEST_PICTURE).fetchone()
            database.execute(statements.DELETE["picture"], (oldest,))
            log.warning("outbox %s: no room, dropped the picture of sighting %s", self._path, oldest)
            used -= size
        database.execute(
            "INSERT OR IGNORE INTO pictures (id, stored_at, jpeg, size) VALUES (?, ?, ?, ?)",
            (key, as_text(now), jpeg, len(jpeg)),
        )

    def _come_home(self) -> None:
        """Open the file for which there was no room at the start. Raises OutboxError when there still is none."""
        if self._homeless:
            self._database, self._homeless = open_outbox(self._path), False
            log.info("outbox %s is open: there is room again", self._path)

    def _leave(self, error: sqlite3.Error) -> bool:
        """Go on in memory when the file is damaged; False when it is not."""
        if self._homeless or not is_damage(error):
            return False
        log.error("outbox %s cannot be read (%s): it is opened anew", self._path, error)
        self._database.close()
        self._database, self._homeless = in_memory(), True
        return True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._come_home()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._leave(error)
            raise OutboxError(f"outbox {self._path} cannot be written ({error}); free some disk space") from error
