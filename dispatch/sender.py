# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dispatcher's loop: expand call-outs, claim notices, send them with no transaction open, record the outcome.

Each channel has its own threads, so that a slow one holds up no other, and no more is claimed than those threads can
take, so that no lease runs out in a queue of ours. Outcomes are recorded in batches by a thread of their own. After
kill -9 at any moment the leases run out and the notices go again: at least once, under the same id.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from dispatch.budget import Budget
from dispatch.channels import SEND_LIMIT_S, Channel, Never, Outcome, Sent, TryAgain
from dispatch.expand import Expander
from dispatch.parcels import Parcel, claim, fresh
from server.db import Clock, Database
from server.services import notices
from server.wake import Sleeper

log = logging.getLogger("dispatch")

assert timedelta(seconds=SEND_LIMIT_S) < notices.LEASE
# For each of a channel's threads, being sent or waiting for it; two where a single send may take seconds. A broker that
# does not answer fails all that wait for it at once.
_QUEUED = {"mqtt": 8}
_LOOK_EVERY_S = 1.0  # a lost wake-up costs this much
_BATCH = 100
_EXPAND = 50  # call-outs in one transaction: it holds their incidents' locks
# Channels without budget and bundles, whose fresh notices need not be claimed apart.
_STRAIGHT = frozenset({"mqtt"})
# channel -> first wait and longest wait between attempts, seconds.
_BACKOFF = {"mqtt": (1.0, 15.0), "sms": (5.0, 120.0), "voice": (20.0, 120.0)}


def backoff(channel: str, attempts: int) -> timedelta:
    """How long to wait after this many attempts: doubling, with a jitter of a quarter either way."""
    first, longest = _BACKOFF.get(channel, (5.0, 120.0))
    seconds = min(longest, first * 2.0 ** max(0, attempts - 1))
    return timedelta(seconds=seconds * secrets.SystemRandom().uniform(0.75, 1.25))


@dataclass(slots=True)
class _Lane:
    """A channel, its threads, and which notices they hold."""

    channel: Channel
    pool: ThreadPoolExecutor
    budget: Budget
    held: set[str] = field(default_factory=set)

    @property
    def free(self) -> int:
        """How many more notices it can take. What waits here must go well within its lease."""
        return _QUEUED.get(self.channel.name, 2) * self.channel.parallel - len(self.held)


@dataclass(frozen=True, slots=True)
class _Done:
    parcel: Parcel
    outcome: Outcome


class Dispatcher:
    """Use as a context manager. ``step`` does what is to do now and returns; the sends go on in their threads."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        expander: Expander,
        channels: Sequence[Channel],
        budgets: Mapping[str, Budget] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._expander = expander
        self._lanes = {
            channel.name: _Lane(
                channel,
                ThreadPoolExecutor(channel.parallel, f"send-{channel.name}"),
                (budgets or {}).get(channel.name, Budget()),
            )
            for channel in channels
        }
        self._outcomes: queue.SimpleQueue[_Done | None] = queue.SimpleQueue()
        self._settled = threading.Condition()
        self._stopping = threading.Event()
        self._recorder = threading.Thread(target=self._record_forever, name="record", daemon=True)

    def __enter__(self) -> Dispatcher:
        self._recorder.start()
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes.values():
            lane.pool.shutdown(cancel_futures=True)
        self._stopping.set()
        self._outcomes.put(None)
        self._recorder.join()
        for lane in self._lanes.values():
            lane.channel.close()

    def run(self, stop: threading.Event) -> None:
        """Step until told to stop, sleeping until woken or until something is due."""
        with Sleeper(self._database.url, "dispatch") as sleeper:
            while not stop.is_set():
                wait_s = _LOOK_EVERY_S
                try:
                    wait_s = min(wait_s, self.step())
                except Exception:
                    log.exception("a step failed; trying again in %.0f s", wait_s)
                sleeper.sleep(wait_s)

    def step(self) -> float:
        """Expand every waiting call-out and hand every due notice to its channel, as far as the channels can take them.

        Returns the seconds until something is due (as far as is known now).
        """
        while self._round():
            pass
        return self._until_due()

    def settle(self, timeout_s: float = 30.0) -> None:
        """Wait until everything handed over is sent and recorded. Raises TimeoutError."""
        with self._settled:
            if not self._settled.wait_for(lambda: not any(lane.held for lane in self._lanes.values()), timeout_s):
                raise TimeoutError("some notices are still being sent")

    def _round(self) -> bool:
        """One transaction's worth of work: expand, and claim what is due, fresh or old. True when more may wait."""
        lanes = [lane for lane in self._lanes.values() if lane.free > 0 and lane.channel.ready()]
        with self._database.read() as session:
            now = self._clock.now(session)
            rooms = {lane.channel.name: min(lane.free, lane.budget.allowance(now)) for lane in lanes}
            callouts, due = notices.waiting(session, now, [name for name, room in rooms.items() if room > 0])
        if not callouts and not due:
            return False
        # What needs no second look goes out of the transaction that writes it.
        straight = [name for name in rooms if name in _STRAIGHT and rooms[name] >= _EXPAND and not due]
        parcels: list[Parcel] = []
        with self._database.write() as session:
            now = self._clock.now(session)
            expanded, written = self._expander.step(session, now, _EXPAND, straight)
            for name, room in rooms.items():
                if room > 0 and name not in straight:
                    parcels += claim(session, name, now, room, self._lanes[name].budget)
        for parcel in fresh(written) + parcels:
            self._submit(parcel)
        return expanded == _EXPAND

    def _submit(self, parcel: Parcel) -> None:
        lane = self._lanes[parcel.channel]
        with self._settled:
            # One that is still held here (its lease ran out while the channel hung) is not sent twice at once.
            if not lane.held.isdisjoint(parcel.ids):
                return
            lane.held.update(parcel.ids)
        lane.budget.spend(1)
        lane.pool.submit(self._send, lane, parcel)

    def _send(self, lane: _Lane, parcel: Parcel) -> None:
        try:
            outcome = lane.channel.send(parcel.notice)
        except Exception as error:
            log.exception("the channel %s raised", lane.channel.name)
            outcome = TryAgain(f"fault in the channel: {type(error).__name__}")
        self._outcomes.put(_Done(parcel, outcome))

    def _record_forever(self) -> None:
        while (first := self._outcomes.get()) is not None:
            batch = [first]
            while len(batch) < _BATCH:
                try:
                    more = self._outcomes.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._outcomes.put(None)
                    break
                batch.append(more)
            self._record(batch)
            with self._settled:
                for lane in self._lanes.values():
                    for done in batch:
                        lane.held.difference_update(done.parcel.ids)
                self._settled.notify_all()

    def _record(self, batch: list[_Done]) -> None:
        """Record a batch; while the database is away, again and again: a lost outcome is a notice sent twice."""
        while True:
            try:
                with self._database.write() as session:
                    now = self._clock.now(session)
                    _record(session, batch, now)
                return
            except Exception:
                log.exception("%d outcomes could not be recorded; trying again", len(batch))
                if self._stopping.wait(1.0):
                    return

    def _until_due(self) -> float:
        waits = [_LOOK_EVERY_S]
        with self._database.read() as session:
            now = self._clock.now(session)
            for lane in self._lanes.values():
                # A full lane wakes us when it has room again, an absent one is looked at once in a while.
                if lane.free <= 0 or not lane.channel.ready():
                    continue
                due = notices.next_attempt(session, [lane.channel.name])
                if due is not None:
                    waits.append(max((due - now).total_seconds(), lane.budget.next_token_s))
        return max(0.0, min(waits))


def _record(session: Session, batch: list[_Done], now: datetime) -> None:
    refs = {number: done.outcome.ref for done in batch if isinstance(done.outcome, Sent) for number in done.parcel.ids}
    if refs:
        notices.record_sent(session, refs, now)
    for done in batch:
        name = f"notice {done.parcel.notice.id} to {done.parcel.notice.login}"
        if isinstance(done.outcome, TryAgain):
            log.warning("%s not sent, attempt %d: %s", name, done.parcel.attempts, done.outcome.reason)
            wait = backoff(done.parcel.channel, done.parcel.attempts)
            for number in done.parcel.ids:
                notices.record_retry(session, number, done.outcome.reason, now, wait)
        elif isinstance(done.outcome, Never):
            log.error("%s cannot be sent: %s", name, done.outcome.reason)
            for number in done.parcel.ids:
                notices.record_failed(session, number, done.outcome.reason, now)
