# SPDX-License-Identifier: AGPL-3.0-or-later
"""One sleeper for a whole process, heard by all its live connections: a database connection each would be a waste."""

from __future__ import annotations

import threading

from sqlalchemy import URL

from server.wake import Sleeper

# Changes that come in a burst are told together.
_TOGETHER_S = 0.05
_STOP_CHECK_S = 1.0


class Bell:
    """Rings when the record changes. ``start`` it before waiting; ``close`` ends its thread."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._changed = threading.Condition()
        self._rings = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    def start(self) -> None:
        """Listen from now on; again changes nothing."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="bell", daemon=True)
                self._thread.start()
        self._ready.wait(5)

    @property
    def rings(self) -> int:
        """How often it has rung: what a waiter remembers before it looks at the record."""
        with self._changed:
            return self._rings

    def wait(self, seen: int, timeout_s: float) -> bool:
        """Wait until it has rung more often than ``seen``, at most ``timeout_s``. True when it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._rings > seen, timeout_s)

    def close(self) -> None:
        """Stop listening and release everybody who waits."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._ring()

    def _listen(self) -> None:
        with Sleeper(self._url, "web") as sleeper:
            self._ready.set()
            while not self._stop.is_set():
                if sleeper.sleep(_STOP_CHECK_S):
                    self._ring()
                    self._stop.wait(_TOGETHER_S)

    def _ring(self) -> None:
        with self._changed:
            self._rings += 1
            self._changed.notify_all()
