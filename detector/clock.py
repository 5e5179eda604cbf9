# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's two clocks: one says when, the other how long. Entry points make one, the rest are given it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux counts the time in which the machine was suspended by this one alone. What went by then was not watched, and
times told before and after it must lie as far apart as they do."""


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
        """Seconds from an unknown start, those included in which the machine was suspended."""
        return time.clock_gettime(_SINCE_BOOT)
