# SPDX-License-Identifier: AGPL-3.0-or-later
"""The three clocks, derived from the journal and from nothing else.

1 = T2 − T0 (scored by its worst case), 5 = T4 − T2 (or T6 − T2), 30 = T7 − T2. Late is "elapsed > limit",
exactly. What is still open past its limit is late without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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

    def to_json(self) -> dict[str, str | None]:
        """ISO 8601 by name, as the scripted demo and the API print them."""
        names = self.__dataclass_fields__
        values = {name: getattr(self, name) for name in names}
        return {name: value.isoformat() if value else None for name, value in values.items()}


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


def stamps(journal: Iterable[Entry], policy: Policy) -> Stamps:
    """Derive the stamps from a whole journal, oldest entry first."""
    found: dict[str, datetime] = {}
    for entry in standing(journal):
        if entry.event is Event.OPEN:
            found.update(_opening(entry, policy))
        elif entry.event in _DISPOSED:
            found.setdefault("t7", entry.at)
        elif entry.event is Event.REJECT:
            found.pop("t7", None)
        elif entry.event in _STAMPED:
            found.setdefault(_STAMPED[entry.event], entry.at)
    return Stamps(**found)


def standing(journal: Iterable[Entry]) -> list[Entry]:
    """The journal without what was taken back; the taken-back lines stay on record, they stamp nothing."""
    entries = list(journal)
    undone = {entry.data.get("undoes") for entry in entries if entry.event is Event.UNDO}
    return [entry for entry in entries if entry.seq not in undone]


def last_move(journal: Iterable[Entry]) -> Entry | None:
    """The last standing line that moved the incident or was a tap: the only one that may be taken back."""
    moves = [entry for entry in standing(journal) if entry.event in UNDOABLE or entry.from_state != entry.to_state]
    return moves[-1] if moves else None


def _opening(entry: Entry, policy: Policy) -> dict[str, datetime]:
    """T0, T1 and T2 from the opening entry, edge times moved to the server's scale.

    An unknown offset counts as zero with the policy's assumed error; the error widens T0 on both sides.
    """
    data = entry.data
    offset = timedelta(milliseconds=data.get("clock_offset_ms") or 0.0)
    error_ms = data.get("clock_error_ms")
    error = timedelta(seconds=policy.assumed_clock_error_s if error_ms is None else error_ms / 1000)
    found = {"t2": entry.at}
    if data.get("t0_earliest"):
        found["t0_earliest"] = datetime.fromisoformat(data["t0_earliest"]) + offset - error
    if data.get("t0_latest"):
        # Smoke cannot have been seen after the alert about it was committed.
        found["t0_latest"] = min(datetime.fromisoformat(data["t0_latest"]) + offset + error, entry.at)
    if data.get("t1"):
        found["t1"] = datetime.fromisoformat(data["t1"]) + offset
    return found


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
    ``due`` is the moment at which the limit passes."""

    name: str
    limit_s: int
    elapsed_s: float | None
    best_s: float | None
    verdict: Verdict
    due: datetime | None
    reason: str

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
        }


def intervals(times: Stamps, policy: Policy, now: datetime) -> tuple[Interval, Interval, Interval]:
    """The three clocks (discover, respond, dispose) as they stand at ``now``."""
    respond_stop = times.t4 if policy.respond_stop == "accept" else times.t6
    return (
        _discover(times, policy),
        _since_t2("respond", policy.respond_limit_s, times.t2, respond_stop, now),
        _since_t2("dispose", policy.dispose_limit_s, times.t2, times.t7, now),
    )


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


def _since_t2(name: str, limit: int, t2: datetime | None, stop: datetime | None, now: datetime) -> Interval:
    if t2 is None:
        return Interval(name, limit, None, None, Verdict.NONE, None, "not opened")
    due = t2 + timedelta(seconds=limit)
    if stop is not None:
        elapsed = (stop - t2).total_seconds()
        late = stop > due
        reason = f"{elapsed:.1f} s after the alert"
        verdict = Verdict.BROKEN if late else Verdict.KEPT
        return Interval(name, limit, elapsed, elapsed, verdict, due, reason)
    if now > due:
        return Interval(name, limit, None, None, Verdict.BROKEN, due, "still open past its limit")
    return Interval(name, limit, None, None, Verdict.RUNNING, due, "running")
