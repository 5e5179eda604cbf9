# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the box's times are worth: a scale that no setting of the clock disturbs, and its distance from the server's.

Times are told on a *scale*: the wall clock as it stood once, carried on by the monotonic clock. Times of one scale
differ by exactly what went by. The server's distance is measured by exchanges of four timestamps (as in NTP,
RFC 5905 section 8): half of the round trip bounds the error of each, whatever the link does, and the bound grows by
the drift allowed for quartz. The exchange whose bound is narrowest at the moment asked for is believed (the
minimum-delay filter).
"""

from __future__ import annotations

import json
import logging
import math
import threading
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from detector.clock import Clock
from detector.wire import ClockOffset

log = logging.getLogger(__name__)

DRIFT = 100e-6
"""Seconds a second. Common crystals are within 50 parts in a million of the truth, and the server's has one too."""
WRITTEN_MS = 1.0
"""Times are written in whole milliseconds."""
JUMP_S = 0.1
"""A wall clock is steered gently; more than this between two looks is a jump."""
MOST_EXCHANGES = 64
FIRST_EXCHANGES, FIRST_EVERY_S, EVERY_S = 5, 1.0, 60.0
"""So many exchanges in quick succession when a connection is new, then one a minute."""
MOST_UNANSWERED = 16


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answered question. `middle` is the monotonic clock's and `distance_s` the server's time (seconds since
    1970) less it, right within `error_s` at that moment."""

    middle: float
    distance_s: float
    error_s: float

    def error_at(self, monotonic: float) -> float:
        """The bound at another moment."""
        return self.error_s + DRIFT * abs(monotonic - self.middle)


def exchange(sent: float, received: float, server_received: float, server_sent: float) -> Exchange:
    """From the four timestamps: ours monotonic, the server's in seconds since 1970.

    Raises ValueError when the server says it held the question longer than it was away.
    """
    away, held = received - sent, server_sent - server_received
    if held < 0 or held > away + DRIFT * away:
        raise ValueError(f"the server says it held the question {held:.3f} s; it was away {away:.3f} s")
    middle = (sent + received) / 2
    return Exchange(middle, (server_received + server_sent) / 2 - middle, max(0.0, away - held) / 2)


class Distance:
    """The server's time less the monotonic clock, from the exchanges so far."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=MOST_EXCHANGES)

    def add(self, new: Exchange) -> float | None:
        """Take in an exchange. When it contradicts what was known, the server's clock was set: what was known is
        forgotten, and by how many seconds it was set is returned."""
        jump = None
        if self._exchanges:
            best = self.best_at(new.middle)
            apart = new.distance_s - best.distance_s
            if abs(apart) > new.error_s + best.error_at(new.middle):
                self._exchanges.clear()
                jump = apart
        self._exchanges.append(new)
        return jump

    @property
    def known(self) -> bool:
        """At least one exchange was answered."""
        return bool(self._exchanges)

    def best_at(self, monotonic: float) -> Exchange:
        """The exchange with the narrowest bound at a moment; there must be one."""
        return min(self._exchanges, key=lambda each: each.error_at(monotonic))


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)

    v: Literal[1]
    id: str
    received_at: AwareDatetime
    answered_at: AwareDatetime


class Timekeeper:
    """The box's clock, with its distance from the server's. Safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._distance = Distance()
        self._asked: dict[str, float] = {}
        self._next_at = -math.inf
        self._quick = FIRST_EXCHANGES
        self._apart_s = 0.0
        self._begin_scale()

    def now(self) -> datetime:
        """Aware UTC, on the present scale."""
        return self._start + timedelta(seconds=self._clock.monotonic() - self._started)

    def monotonic(self) -> float:
        """Seconds from an unknown start."""
        return self._clock.monotonic()

    def watch(self) -> float | None:
        """Notice when somebody or something set the wall clock; returns by how many seconds (to be called often).

        Our times go on undisturbed when their distance from the server's is known. When it is not, the newly set
        clock is the better guess, and a new scale begins with it.
        """
        with self._lock:
            apart = (self._clock.now() - self.now()).total_seconds()
            jump = apart - self._apart_s
            self._apart_s = apart
            if abs(jump) <= JUMP_S:
                return None
            if self._distance.known:
                log.warning("this machine's clock was set by %+.3f s: our times go on by the monotonic clock", jump)
            else:
                log.warning("this machine's clock was set by %+.3f s: times are told by it from now on", jump)
                self._begin_scale()
            return jump

    def connected(self) -> None:
        """The connection is new: ask quickly, and expect no answers to old questions."""
        with self._lock:
            self._asked.clear()
            self._next_at, self._quick = -math.inf, FIRST_EXCHANGES

    def question(self) -> bytes | None:
        """The request to send now, when one is due."""
        with self._lock:
            now = self._clock.monotonic()
            if now < self._next_at:
                return None
            self._quick = max(0, self._quick - 1)
            self._next_at = now + (FIRST_EVERY_S if self._quick else EVERY_S)
            key = uuid.uuid4().hex
            while len(self._asked) >= MOST_UNANSWERED:
                del self._asked[next(iter(self._asked))]
            self._asked[key] = self._clock.monotonic()
        return json.dumps({"v": 1, "id": key}).encode()

    def answer(self, payload: bytes, received: float) -> None:
        """Take in a reply that came at `received` (monotonic). Raises ValueError, one phrase, for what is none;
        one that nobody asked for (a second server's) is left out."""
        try:
            reply = _Reply.model_validate_json(payload)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'payload'}: {first['msg']}") from error
        with self._lock:
            sent = self._asked.pop(reply.id, None)
            if sent is None:
                return
            found = exchange(sent, received, reply.received_at.timestamp(), reply.answered_at.timestamp())
            jump = self._distance.add(found)
        if jump is not None:
            log.warning("the server's clock was set by %+.3f s", jump)

    def stamp(self, at: datetime | None = None, made: ClockOffset | None = None) -> ClockOffset:
        """What the clock is worth at `at` (a time of the present scale, now when None).

        `made` is what was known when a message was made: it stays when it belongs to another scale, or is better.
        """
        with self._lock:
            at = at or self.now()
            monotonic = self._started + (at - self._start).total_seconds()
            if made is not None and made.scale not in {None, self._scale}:
                return made
            if not self._distance.known:
                return made or ClockOffset(scale=self._scale, monotonic_s=round(monotonic, 3))
            best = self._distance.best_at(monotonic)
            error_ms = 1000 * best.error_at(monotonic) + WRITTEN_MS
            if made is not None and made.error_ms is not None and made.error_ms <= error_ms:
                return made
            offset_ms = 1000 * (best.distance_s + monotonic - at.timestamp())
            return ClockOffset(
                offset_ms=round(offset_ms, 3),
                error_ms=math.ceil(1000 * error_ms) / 1000,
                scale=self._scale,
                monotonic_s=round(monotonic, 3),
            )

    def _begin_scale(self) -> None:
        self._start, self._started = self._clock.now(), self._clock.monotonic()
        self._apart_s = 0.0
        self._scale = uuid.uuid4().hex[:8]
