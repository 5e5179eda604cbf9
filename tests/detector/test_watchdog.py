# SPDX-License-Identifier: AGPL-3.0-or-later
"""The beat that systemd listens to."""

from __future__ import annotations

import socket
from pathlib import Path

from detector.watchdog import BEAT_S, STUCK_S, Watchdog


def test_the_beat_stops_when_the_looking_is_stuck(tmp_path: Path) -> None:
    """Ready once, then a beat every ten seconds as long as pictures are judged; nothing after."""
    looked_at = 0.0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        watchdog = Watchdog(str(tmp_path / "notify"), lambda: looked_at)
        for now in (0.0, 1.0, BEAT_S, BEAT_S + 1):
            watchdog.step(now)
        assert [systemd.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
        watchdog.step(STUCK_S + 1)
        looked_at = STUCK_S + 2
        watchdog.step(STUCK_S + 3)
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_without_systemd_nothing_is_said(tmp_path: Path) -> None:
    """And a socket that is gone is no reason to stop."""
    Watchdog(None, lambda: 0.0).step(0.0)
    Watchdog(str(tmp_path / "gone"), lambda: 0.0).step(0.0)
