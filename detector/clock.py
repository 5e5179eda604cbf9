# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's two clocks: one says when, the other how long. Entry points make one, the rest are given it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time may jump when it is set; monotonic time never does."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic(self) -> float:
        """Seconds from an unknown start."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an unknown start."""
        return time.monotonic()
