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
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from dispatch.budget import Budget
from dispatch.channels import SEND_LIMIT_S, Channel, InBulk, Never, Outcome, Sent, TryAgain
from dispatch.expand import Expander
from dispatch.parcels import Parcel, claim, fresh
from server import wake
from server.db import Clock, Database
from server.services import notices, outcomes
from server.wake import Sleeper

log = logging.getLogger("dispatch")

assert timedelta(seconds=SEND_LIMIT_S) < notices.LEASE
# For each of a channel's threads, being sent or waiting for it: few where a single send may take seconds, many where
# they go in bulk.
_QUEUED, _QUEUED_IN_BULK = 2, 2048
_HELD_S = 0.02
_LOOK_EVERY_S = 1.0  # a lost wake-up costs this much
_BATCH = 1000
# Outcomes are recorded together, with their own times: what is to be sent goes before the paperwork of what was sent.
_GATHER_S, _GATHER_AT_MOST_S = 0.25, 1.0
_EXPAND = 250  # call-outs in one transaction: it holds their incidents' locks, a tenth of a second in a surge
# Channels without budget and bundles, whose fresh notices need not be claimed apart.
_STRAIGHT = frozenset({"mqtt"})
# channel -> first wait and longest wait between attempts, seconds.
_BACKOFF = {"mqtt": (1.0, 15.0), "voice": (20.0, 120.0), "chat": (10.0, 120.0)}


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
        queued = _QUEUED_IN_BULK if isinstance(self.channel, InBulk) else _QUEUED
        return queued * self.channel.parallel - len(self.held)


@dataclass(frozen=True, slots=True)
class _Done:
    parcel: Parcel
    outcome: Outcome
    at: float  # by the steady clock


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
        self._behind = self._surging = False
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
        with Sleeper(self._database.url, wake.DISPATCHER) as sleeper:
            look_at = time.monotonic()
            while not stop.is_set():
                try:
                    # Whoever woke us wrote work; what became due by itself can wait for its time.
                    if self._round() or self._behind or time.monotonic() >= look_at:
                        look_at = time.monotonic() + min(_LOOK_EVERY_S, self.step())
                except Exception:
                    log.exception("a step failed; trying again in %.0f s", _LOOK_EVERY_S)
                    look_at = time.monotonic() + _LOOK_EVERY_S
                sleeper.sleep(max(0.0, look_at - time.monotonic()))

    def step(self) -> float:
        """Expand every waiting call-out and hand every due notice to its channel, as far as the channels can take them.

        Returns the seconds until something is due (as far as is known now).
        """
        stale: frozenset[str] = frozenset()
        while True:
            before, more = stale, self._round(stale)
            stale, wait_s = self._look()
            if not more and not stale:
                return wait_s
            if not more and stale == before:
                return _HELD_S  # another dispatcher has it

    def settle(self, timeout_s: float = 30.0) -> None:
        """Wait until everything handed over is sent and recorded. Raises TimeoutError."""
        with self._settled:
            if not self._settled.wait_for(lambda: not any(lane.held for lane in self._lanes.values()), timeout_s):
                raise TimeoutError("some notices are still being sent")

    def _round(self, stale: Collection[str] = ()) -> bool:
        """One transaction's worth of work: expand, and claim what is due. True when more may wait.

        ``stale``: channels on which something is due that was written before.
        """
        lanes = [lane for lane in self._lanes.values() if lane.free > 0 and lane.channel.ready()]
        # What needs no second look goes out of the transaction that writes it.
        straight = [lane.channel.name for lane in lanes if lane.channel.name in _STRAIGHT and lane.free >= _EXPAND]
        parcels: list[Parcel] = []
        with self._database.write() as session:
            now = self._clock.now(session)
            expanded, written = self._expander.step(session, now, _EXPAND, straight)
            for lane in lanes:
                name = lane.channel.name
                taken = sum(notice.channel == name for notice in written)
                room = min(lane.free - taken, lane.budget.allowance(now))
                if room > 0 and (name not in straight or name in stale):
                    parcels += claim(session, name, now, room, lane.budget)
        self._submit(parcels + fresh(written))
        # What a full lane left over must be looked for.
        self._behind = any(lane.free < _EXPAND for lane in self._lanes.values() if lane.channel.name in _STRAIGHT)
        self._surging = expanded == _EXPAND
        return self._surging

    def _submit(self, parcels: Sequence[Parcel]) -> None:
        for lane in self._lanes.values():
            mine = [parcel for parcel in parcels if parcel.channel == lane.channel.name and self._hold(lane, parcel)]
            lane.budget.spend(len(mine))
            if isinstance(lane.channel, InBulk):
                if mine:
                    lane.pool.submit(self._send, lane, mine)
            else:
                for parcel in mine:
                    lane.pool.submit(self._send, lane, [parcel])

    def _hold(self, lane: _Lane, parcel: Parcel) -> bool:
        """Note that it is held here. One that is held still (its lease ran out while the channel hung) is not sent
        twice at once."""
        with self._settled:
            if not lane.held.isdisjoint(parcel.ids):
                return False
            lane.held.update(parcel.ids)
            return True

    def _send(self, lane: _Lane, parcels: Sequence[Parcel]) -> None:
        outgoing = [parcel.notice for parcel in parcels]
        outcomes: Sequence[Outcome]
        try:
            if isinstance(lane.channel, InBulk):
                outcomes = lane.channel.send_all(outgoing)
            else:
                outcomes = [lane.channel.send(one) for one in outgoing]
        except Exception as error:
            log.exception("the channel %s raised", lane.channel.name)
            outcomes = [TryAgain(f"fault in the channel: {type(error).__name__}")] * len(parcels)
        at = time.monotonic()
        for parcel, outcome in zip(parcels, outcomes, strict=True):
            self._outcomes.put(_Done(parcel, outcome, at))

    def _record_forever(self) -> None:
        while (first := self._outcomes.get()) is not None:
            batch = [first]
            self._gather()
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
                was_full = any(lane.free <= 0 for lane in self._lanes.values())
                for lane in self._lanes.values():
                    for done in batch:
                        lane.held.difference_update(done.parcel.ids)
                self._settled.notify_all()
            if was_full:
                self._wake()

    def _gather(self) -> None:
        """Wait for more outcomes, and in a surge until everybody is told."""
        end = time.monotonic() + _GATHER_AT_MOST_S
        while not self._stopping.wait(_GATHER_S) and self._surging and time.monotonic() < end:
            pass

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

    def _wake(self) -> None:
        """There is room again: wake whoever waits for it, here or elsewhere."""
        try:
            with self._database.write() as session:
                wake.request(session, wake.DISPATCHER)
        except Exception:
            log.exception("the wake-up was lost; the next look comes by itself")

    def _look(self) -> tuple[frozenset[str], float]:
        """On which channels something is due now and could go, and the seconds until something is."""
        # A full lane wakes us when it has room again, an absent one is looked at once in a while.
        lanes = [lane for lane in self._lanes.values() if lane.free > 0 and lane.channel.ready()]
        with self._database.read() as session:
            now = self._clock.now(session)
            due = notices.next_due(session, [lane.channel.name for lane in lanes])
        waits = {
            lane.channel.name: max((due[lane.channel.name] - now).total_seconds(), lane.budget.next_token_s)
            for lane in lanes
            if lane.channel.name in due
        }
        stale = frozenset(name for name, wait_s in waits.items() if wait_s <= 0)
        return stale, max(0.0, min([_LOOK_EVERY_S, *waits.values()]))


def _record(session: Session, batch: list[_Done], now: datetime) -> None:
    steady = time.monotonic()
    sent = [(number, done) for done in batch if isinstance(done.outcome, Sent) for number in done.parcel.ids]
    if sent:
        refs = {number: done.outcome.ref for number, done in sent if isinstance(done.outcome, Sent)}
        ago = {number: now - timedelta(seconds=steady - done.at) for number, done in sent}
        outcomes.record_sent(session, refs, now, ago)
        for done in {done.parcel.notice.id: done for _, done in sent if len(done.parcel.ids) > 1}.values():
            outcomes.share_delivery(session, done.parcel.ids, now)
    for done in batch:
        name = f"notice {done.parcel.notice.id} to {done.parcel.notice.login}"
        if isinstance(done.outcome, TryAgain):
            log.warning("%s not sent, attempt %d: %s", name, done.parcel.attempts, done.outcome.reason)
            wait = backoff(done.parcel.channel, done.parcel.attempts)
            for number in done.parcel.ids:
                outcomes.record_retry(session, number, done.outcome.reason, now, wait)
        elif isinstance(done.outcome, Never):
            log.error("%s cannot be sent: %s", name, done.outcome.reason)
            for number in done.parcel.ids:
                outcomes.record_failed(session, number, done.outcome.reason, now)
