# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clock: fires what is due, sleeps until the next due moment, and is woken by a new one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event as StopEvent

from sqlalchemy.exc import DBAPIError

from server.db import STEERED_S, Clock, Database
from server.services import deadlines
from server.services.deadlines import Fired
from server.wake import CLOCK, Sleeper

log = logging.getLogger("clock")
# A wake-up may be lost; so long may a new deadline then go unseen.
_LOOK_AGAIN_S = 1.0
_BATCH = 2000
# What is due but held by an answer or another replica is looked at again so soon.
_HELD_S = 0.01
# "Late" means after the due moment, so the sweep aims just behind it.
_JUST_AFTER = timedelta(milliseconds=1)


class ClockLoop:
    """Sweeps on one thread; any number of these may run. ``monotonic`` is this machine's steady clock, in seconds;
    ``fired`` is told of every batch after its commit."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        fired: Callable[[Sequence[Fired]], None] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._fired = fired or _log
        self._seen: tuple[datetime, float] | None = None
        self.alive_at = monotonic()  # when the last step ended well

    def step(self) -> float:
        """Fire all that is due now; returns the seconds until the next sweep is worth while."""
        with self._database.read() as session:
            due, now = deadlines.next_due(session), self._clock.now(session)
        self._watch(now)
        while due is not None and due < now:
            with self._database.write() as session:
                now, read_at = self._clock.now(session), self._monotonic()
                fired = deadlines.sweep(session, now, limit=_BATCH)
                due = deadlines.next_due(session)
            if not fired:
                self.alive_at = self._monotonic()
                return _HELD_S
            self._fired(fired)
            now += timedelta(seconds=self._monotonic() - read_at)
        self.alive_at = self._monotonic()
        return self._pause(due, now)

    def _watch(self, now: datetime) -> None:
        """Say so when the clock leapt ahead, as after a machine's sleep: the deadlines follow it, and people must know.
        One that is set back is carried on (server.services.continuity)."""
        steady = self._monotonic()
        if self._seen is not None:
            then, since = self._seen
            leap = (now - then).total_seconds() - (steady - since)
            if leap > STEERED_S:
                log.warning("the database's clock leapt ahead by %.1f s: what came due in between is caught up", leap)
        self._seen = now, steady

    @staticmethod
    def _pause(due: datetime | None, now: datetime) -> float:
        if due is None:
            return _LOOK_AGAIN_S
        return min(max((due + _JUST_AFTER - now).total_seconds(), 0.0), _LOOK_AGAIN_S)

    def run(self, stop: StopEvent) -> None:
        """Sweep until ``stop``; a database that is away is tried again."""
        with Sleeper(self._database.url, CLOCK) as sleeper:
            while not stop.is_set():
                try:
                    pause = self.step()
                except DBAPIError as error:
                    log.error("the database cannot be written: %s; trying again", error.orig)
                    stop.wait(1)
                    continue
                except Exception:
                    # A fault of ours must not end the clock: the auditor and the heartbeat tell people that it is late.
                    log.exception("a sweep failed; trying again")
                    stop.wait(1)
                    continue
                sleeper.sleep(pause)


def _log(fired: Sequence[Fired]) -> None:
    late = [(item.fired_at - item.due_at).total_seconds() for item in fired]
    for item, seconds in list(zip(fired, late, strict=True))[:20]:
        log.info("incident %d: %s due %.3f s ago", item.incident_id, item.step, seconds)
    if len(fired) > 20:
        log.info("and %d more, due up to %.3f s ago", len(fired) - 20, max(late))
