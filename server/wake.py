# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waking the process that has something to do, at the commit that gives it.

On PostgreSQL a NOTIFY in the transaction, delivered by its commit. On SQLite, where every process is on this
machine, a datagram after the commit to each socket in the data folder. A wake-up may be lost, so sleepers also look by
themselves once in a while: it is a shortcut and never the record.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import tempfile
import time
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import psycopg
from sqlalchemy import URL, text
from sqlalchemy.orm import Session

_CHANNEL = "straw1530"
_NOTIFY = text("SELECT pg_notify(:channel, :workers)")
# Who is woken only for work of their own: at a hundred alerts a second every needless look counts.
CLOCK, DISPATCHER = "clock", "dispatch"
WORKERS = frozenset({CLOCK, DISPATCHER})


def wake_dir(url: URL) -> Path:
    """The folder of the wake-up sockets. Socket paths have a short limit (about 100 bytes), so a deep data folder
    moves them to the temporary folder under a name derived from its path."""
    home = Path(url.database or ".").absolute().parent / "wake"
    if len(os.fsencode(home)) <= 70:
        return home
    return Path(tempfile.gettempdir()) / f"straw1530-{os.getuid()}-{zlib.crc32(os.fsencode(home)):x}"


def request(session: Session, *workers: str) -> None:
    """Wake who watches the record, and these workers, once this session's transaction commits (not on a rollback)."""
    session.info.setdefault("wake", set()).update(workers)


def requested(session: Session) -> Collection[str] | None:
    """The workers for whom somebody asked for a wake-up in this session; None when nobody did at all."""
    return session.info.get("wake")


def in_transaction(session: Session, workers: Collection[str]) -> None:
    """PostgreSQL's half, just before the commit that delivers it."""
    session.execute(_NOTIFY, {"channel": _CHANNEL, "workers": " ".join(workers)})


def after_commit(url: URL, workers: Collection[str]) -> None:
    """SQLite's half: a datagram to each socket in the folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in wake_dir(url).glob("*.sock"):
            if not _concerns(path.name.partition("-")[0], workers):
                continue
            try:
                sender.sendto(b"!", str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)  # its process is gone
            except OSError:
                pass  # a full queue wakes its reader all the same


def _concerns(name: str, workers: Collection[str]) -> bool:
    return name not in WORKERS or name in workers


class Sleeper:
    """Sleeps until woken or until a time-out. Use as a context manager; one per thread. One by a worker's name is woken
    for that worker alone, any other by every change of the record."""

    def __init__(self, url: URL, name: str) -> None:
        self._url = url
        self._name = name
        self._socket: socket.socket | None = None
        self._path: Path | None = None
        self._listener: psycopg.Connection[tuple[object, ...]] | None = None

    def __enter__(self) -> Sleeper:
        if self._url.get_backend_name() == "sqlite":
            folder = wake_dir(self._url)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path = folder / f"{self._name}-{os.getpid()}-{id(self):x}.sock"
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(str(self._path))
            self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._drop_listener()

    def sleep(self, timeout_s: float) -> bool:
        """Wait for a wake-up, at most ``timeout_s``. True when woken. A lost connection counts as woken."""
        if self._socket is not None:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout_s))
            with contextlib.suppress(BlockingIOError):
                while ready:
                    self._socket.recv(64)
            return bool(ready)
        try:
            return any(True for _ in self._notifications(timeout_s))
        except psycopg.OperationalError:
            self._drop_listener()
            return True

    def _notifications(self, timeout_s: float) -> Iterator[object]:
        if self._listener is None:
            url = self._url.set(drivername="postgresql")
            self._listener = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)
            self._listener.execute(f"LISTEN {_CHANNEL}")
            yield "listening"  # what came before the LISTEN must be looked for
            return
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            for notify in self._listener.notifies(timeout=left, stop_after=1):
                if _concerns(self._name, notify.payload.split()):
                    yield notify
                    return

    def _drop_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
