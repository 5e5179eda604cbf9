# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's small duties beside the clock: a step at intervals, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from threading import Event as StopEvent

from sqlalchemy.exc import DBAPIError

log = logging.getLogger("duties")


def every(stop: StopEvent, seconds: float, name: str, step: Callable[[], object]) -> threading.Thread:
    """Run ``step`` now and every so many seconds until ``stop``; what fails is logged and tried again. The thread."""

    def run() -> None:
        while True:
            try:
                step()
            except (DBAPIError, OSError) as error:
                log.error("%s: %s; trying again in %.0f s", name, getattr(error, "orig", None) or error, seconds)
            except Exception:
                log.exception("%s failed; trying again in %.0f s", name, seconds)
            if stop.wait(seconds):
                return

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
