# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clock: fires what is due, sleeps until the next due moment, and is woken by a new one."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from threading import Event as StopEvent

from sqlalchemy.exc import OperationalError

from server.db import Clock, Database
from server.services import deadlines
from server.wake import Sleeper

log = logging.getLogger("clock")
# A wake-up may be lost; so long may a new deadline then go unseen.
_LOOK_AGAIN_S = 1.0
_BATCH = 500
# What is due but held by an answer or another replica is looked at again so soon.
_HELD_S = 0.01
# "Late" means after the due moment, so the sweep aims just behind it.
_JUST_AFTER = timedelta(milliseconds=1)


class ClockLoop:
    """Sweeps on one thread; any number of these may run."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def step(self) -> float:
        """Fire all that is due now; returns the seconds until the next sweep is worth while."""
        while True:
            with self._database.read() as session:
                due, now = deadlines.next_due(session), self._clock.now(session)
            if due is None or due >= now:
                return self._pause(due, now)
            with self._database.write() as session:
                fired = deadlines.sweep(session, self._clock.now(session), limit=_BATCH)
            for item in fired:
                late = (item.fired_at - item.due_at).total_seconds()
                log.info("incident %d: %s due %.3f s ago", item.incident_id, item.step, late)
            if not fired:
                return _HELD_S

    @staticmethod
    def _pause(due: datetime | None, now: datetime) -> float:
        if due is None:
            return _LOOK_AGAIN_S
        return min(max((due + _JUST_AFTER - now).total_seconds(), 0.0), _LOOK_AGAIN_S)

    def run(self, stop: StopEvent) -> None:
        """Sweep until ``stop``; a database that is away is tried again."""
        with Sleeper(self._database.url, "clock") as sleeper:
            while not stop.is_set():
                try:
                    pause = self.step()
                except OperationalError as error:
                    log.error("the database cannot be written: %s; trying again", error.orig)
                    stop.wait(1)
                    continue
                sleeper.sleep(pause)
