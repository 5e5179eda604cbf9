# SPDX-License-Identifier: AGPL-3.0-or-later
"""Telling systemd that the box is alive (sd_notify(3)): only while pictures are being judged and alarms being sent."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

BEAT_S = 10.0
STUCK_S = 60.0
"""A look takes a second or two on the slowest machine."""


class Watchdog:
    """`step` belongs on the sending thread: when it stops, so does the beat. `address` None: nobody listens."""

    def __init__(self, address: str | None, looked_at: Callable[[], float]) -> None:
        # "@" stands for the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._looked_at = looked_at
        self._beat_at: float | None = None

    def step(self, now: float) -> None:
        """Beat when it is time, unless the looking thread is stuck."""
        if self._address is None or (self._beat_at is not None and now - self._beat_at < BEAT_S):
            return
        if now - self._looked_at() > STUCK_S:
            return
        self._say("WATCHDOG=1" if self._beat_at is not None else "READY=1")
        self._beat_at = now

    def _say(self, text: str) -> None:
        assert self._address is not None
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("systemd cannot be told that the box is alive: %s", error)
