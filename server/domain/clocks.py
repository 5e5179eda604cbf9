# SPDX-License-Identifier: AGPL-3.0-or-later
"""The three clocks, derived from the journal and from nothing else.

1 = T2 − T0 (scored by its worst case), 5 = T4 − T2 (or T6 − T2), 30 = T7 − T2. Late is "elapsed > limit",
exactly. What is still open past its limit is late without end. Nothing pauses a clock: an excuse stands beside the
verdict and does not change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from server.domain.lifecycle import UNDOABLE, Event, State
from server.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an incident's journal."""

    seq: int
    at: datetime
    event: Event
    from_state: State | None
    to_state: State
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stamps:
    """T0…T8, each None until it happened. T0 is an interval on the server's time scale:
    the smoke became visible after ``t0_earliest`` (None: no clean frame was seen) and by ``t0_latest``."""

    t0_earliest: datetime | None = None
    t0_latest: datetime | None = None
    t1: datetime | None = None
    t2: datetime | None = None
    t3: datetime | None = None
    t3d: datetime | None = None
    t4: datetime | None = None
    t5: datetime | None = None
    t6: datetime | None = None
    t7: datetime | None = None
    t8: datetime | None = None
    # Ended without disposal, as a false alarm or an excused fire: there is nothing more to wait for from then on.
    ended: datetime | None = None
    excused: bool = False
    # The stamps written after the server's clock had been set back: their distance from T2 proves nothing.
    doubtful: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, str | None]:
        """T0…T8, ISO 8601 by name, as the scripted demo and the API print them."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {name: value.isoformat() if value else None for name, value in values.items()}


_NAMES = ("t0_earliest", "t0_latest", "t1", "t2", "t3", "t3d", "t4", "t5", "t6", "t7", "t8")
# The first entry of each event gives its stamp; a transfer restarts none of them, because the
# promise is made to the village and not to the office.
_STAMPED = {
    Event.SENT: "t3",
    Event.DELIVERED: "t3d",
    Event.ACCEPT: "t4",
    Event.SET_OFF: "t5",
    Event.ARRIVE: "t6",
    Event.CLOSE: "t8",
}
# Reported done stamps T7, but a report that verification rejected does not count: the last one does.
_DISPOSED = frozenset({Event.REPORT_DONE, Event.REPORT_FALSE})
_ENDED = frozenset({Event.MARK_FALSE, Event.EXCUSE})
# All that the stamps are made of; a list may leave the other lines of the journal unread.
STAMPING = (
    frozenset(_STAMPED)
    | _DISPOSED
    | _ENDED
    | {*(Event.OPEN, Event.ONSET, Event.REJECT, Event.APPEAL, Event.UNDO, Event.CLOCK_BACK)}
)
# In the data of a line: by how many seconds the server's clock stood before the line above it.
CLOCK_BACK = "clock_back_s"
# In the data of a line that waited for its turn behind another: when the server received it.
RECEIVED = "received_at"


def stamps(journal: Iterable[Entry], policy: Policy) -> Stamps:
    """Derive the stamps from a journal (all of it, or its STAMPING lines), oldest entry first."""
    found: dict[str, datetime] = {}
    doubtful: set[str] = set()
    excused = doubt = False
    opening: Entry | None = None
    for entry in standing(entry for entry in journal if entry.event in STAMPING):
        opening = entry if entry.event is Event.OPEN else opening
        before = dict(found)
        doubt = doubt or CLOCK_BACK in entry.data
        upheld = entry.event is Event.APPEAL and entry.data.get("upheld") is True
        excused = excused or entry.event is Event.EXCUSE or upheld
        if entry.event is Event.ONSET and opening is not None:
            _refine(found, entry, opening, policy)
        else:
            _stamp(found, entry, policy)
        if doubt:
            doubtful |= {name for name, at in found.items() if before.get(name) != at}
    return Stamps(**found, excused=excused, doubtful=frozenset(doubtful))


def moment(entry: Entry) -> datetime:
    """When what a line tells was received: a person is judged by that, not by how long the server took to write it."""
    received = entry.data.get(RECEIVED)
    return datetime.fromisoformat(received) if received else entry.at


def _stamp(found: dict[str, datetime], entry: Entry, policy: Policy) -> None:
    at = moment(entry)
    if entry.event is Event.OPEN:
        found.update(_opening(entry, policy))
    elif entry.event in _DISPOSED:
        found.setdefault("t7", at)
    elif entry.event is Event.REJECT:
        found.pop("t7", None)
    elif entry.event in _ENDED and entry.to_state in (State.FALSE_ALARM, State.EXCUSED):
        found.setdefault("ended", at)
    elif entry.event in _STAMPED:
        found.setdefault(_STAMPED[entry.event], at)


def standing(journal: Iterable[Entry]) -> list[Entry]:
    """The journal without what was taken back; the taken-back lines stay on record, they stamp nothing."""
    entries = list(journal)
    undone = {entry.data.get("undoes") for entry in entries if entry.event is Event.UNDO}
    return [entry for entry in entries if entry.seq not in undone]


def last_move(journal: Iterable[Entry]) -> Entry | None:
    """The last standing line that moved the incident, was a tap or opened it anew: the only one that may be taken
    back."""
    moves = [
        entry
        for entry in standing(journal)
        if entry.event in UNDOABLE or entry.event is Event.REOPEN or entry.from_state != entry.to_state
    ]
    return moves[-1] if moves else None


def _opening(entry: Entry, policy: Policy) -> dict[str, datetime]:
    """T0, T1 and T2 from the opening entry."""
    return {"t2": entry.at} | _edge_times(entry.data, policy, entry.at)


def _refine(found: dict[str, datetime], entry: Entry, opening: Entry, policy: Policy) -> None:
    """Looking back at older frames tells T0 better. What other cameras saw later stays on record and moves nothing."""
    if entry.data.get("sighting") == opening.data.get("sighting"):
        found.pop("t0_earliest", None)
        found.update(_edge_times(entry.data, policy, opening.at))


def _edge_times(data: Mapping[str, Any], policy: Policy, until: datetime) -> dict[str, datetime]:
    """Edge times moved to the server's scale, none after ``until``: nothing about a fire can have been seen after the
    alert about it was committed.

    An unknown offset counts as zero with the policy's assumed error; the error widens T0 on both sides.
    """
    offset = timedelta(milliseconds=data.get("clock_offset_ms") or 0.0)
    error_ms = data.get("clock_error_ms")
    error = timedelta(seconds=policy.assumed_clock_error_s if error_ms is None else error_ms / 1000)
    bounds = ("t0_earliest", -error), ("t0_latest", error), ("t1", timedelta())
    return {
        name: min(datetime.fromisoformat(data[name]) + offset + bound, until)
        for name, bound in bounds
        if data.get(name)
    }


class Verdict(StrEnum):
    """What can be said of an interval against its limit."""

    RUNNING = "running"
    KEPT = "kept"
    BROKEN = "broken"
    DISPUTED = "disputed"  # the clock's uncertainty straddles the limit
    NONE = "none"  # does not apply (a patrol report has no discovery interval)


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval in seconds against its limit. ``elapsed_s`` is the worst case; None while the interval is open,
    which past the limit means late without end. ``best_s`` differs only where a clock is uncertain.
    ``due`` is the moment at which the limit passes. ``excused``: a supervisor's note beside the verdict."""

    name: str
    limit_s: int
    elapsed_s: float | None
    best_s: float | None
    verdict: Verdict
    due: datetime | None
    reason: str
    excused: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the scripted demo and the API print it."""
        return {
            "name": self.name,
            "limit_s": self.limit_s,
            "elapsed_s": self.elapsed_s,
            "best_s": self.best_s,
            "verdict": self.verdict.value,
            "due": self.due.isoformat() if self.due else None,
            "reason": self.reason,
            "excused": self.excused,
        }


def intervals(times: Stamps, policy: Policy, now: datetime) -> tuple[Interval, Interval, Interval]:
    """The three clocks (discover, respond, dispose) as they stand at ``now``."""
    stop = "t4"
    if policy.respond_stop == "arrive":  # which a report without a tap on arrival tells, too
        stop = "t6" if times.t6 is not None else "t7"
    found = (
        _discover(times, policy),
        _since_t2("respond", policy.respond_limit_s, times, stop, now),
        _since_t2("dispose", policy.dispose_limit_s, times, "t7", now),
    )
    first, second, third = (replace(one, excused=times.excused) for one in found)
    return first, second, third


def _discover(times: Stamps, policy: Policy) -> Interval:
    limit = policy.discover_limit_s
    if times.t2 is None or times.t0_latest is None:
        return Interval("discover", limit, None, None, Verdict.NONE, None, "no camera saw it begin")
    best = (times.t2 - times.t0_latest).total_seconds()
    worst = (times.t2 - times.t0_earliest).total_seconds() if times.t0_earliest else None
    due = times.t0_earliest + timedelta(seconds=limit) if times.t0_earliest else None
    if best > limit:
        verdict, reason = Verdict.BROKEN, f"at least {best:.1f} s from smoke to alert"
    elif worst is None:
        verdict, reason = Verdict.DISPUTED, "no clean frame came before the first smoke"
    elif worst > limit:
        verdict, reason = Verdict.DISPUTED, f"between {best:.1f} and {worst:.1f} s: the limit lies inside"
    else:
        verdict, reason = Verdict.KEPT, f"at most {worst:.1f} s from smoke to alert"
    return Interval("discover", limit, worst, best, verdict, due, reason)


def _since_t2(name: str, limit: int, times: Stamps, stop_name: str, now: datetime) -> Interval:
    if times.t2 is None:
        return Interval(name, limit, None, None, Verdict.NONE, None, "not opened")
    due = times.t2 + timedelta(seconds=limit)
    stop: datetime | None = getattr(times, stop_name)
    if stop is not None:
        elapsed = (stop - times.t2).total_seconds()
        reason = f"{elapsed:.1f} s after the alert"
        verdict = Verdict.BROKEN if stop > due else Verdict.KEPT
        if stop_name in times.doubtful and verdict is Verdict.KEPT:
            verdict, reason = Verdict.DISPUTED, _SET_BACK
        return Interval(name, limit, elapsed, elapsed, verdict, due, reason)
    if times.ended is not None and times.ended <= due:
        if "ended" in times.doubtful:
            return Interval(name, limit, None, None, Verdict.DISPUTED, due, _SET_BACK)
        return Interval(name, limit, None, None, Verdict.NONE, due, "ended before the limit: nothing was left to do")
    if now > due:
        return Interval(
            name, limit, None, None, Verdict.BROKEN, due, _OPEN_PAST if times.ended is None else _ENDED_PAST
        )
    return Interval(name, limit, None, None, Verdict.RUNNING, due, "running")


_SET_BACK = "the server's clock was set back in between"
_OPEN_PAST = "still open past its limit"
_ENDED_PAST = "the limit passed before it was ended"
