# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who had the incident for how long: a hand-over splits the time, and each party answers for its own part.

The three clocks of the village's promise do not know of this; it is what the parties settle among themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.domain.clocks import Entry, Stamps, Verdict, moment, standing
from server.domain.lifecycle import Event
from server.domain.policy import STOPS, Policy


@dataclass(frozen=True, slots=True)
class Share:
    """One party's part: ``party`` is a division's code (None: nobody was found yet), from ``since`` to ``until``
    (None: it still has it). ``answered_at`` is when it accepted (or arrived, where the county's clock waits for that),
    ``verdict`` how that stands to the response limit counted from ``since``: a party that handed over unanswered within
    its limit owes nothing."""

    party: str | None
    since: datetime
    until: datetime | None
    answered_at: datetime | None
    verdict: Verdict

    def held_s(self, now: datetime) -> float:
        """Seconds it had the incident, until ``now`` when it still has it."""
        return ((self.until or now) - self.since).total_seconds()


def shares(journal: Iterable[Entry], times: Stamps, policy: Policy, now: datetime) -> list[Share]:
    """The parts in order, without gap or overlap, from T2 until T7 or the end. Their sum is T7 − T2."""
    entries = standing(journal)
    if times.t2 is None:
        return []
    marks: list[tuple[str | None, datetime]] = [(None, times.t2)]
    for entry in entries:
        party = _party(entry)
        if party is not None and party != marks[-1][0]:
            marks.append((party, max(moment(entry), marks[-1][1])))
    stop = times.t7 or times.ended
    ends = [since for _, since in marks[1:]]
    answers = _answers(entries, policy)
    found: list[Share] = []
    for (party, since), until in zip(marks, [*ends, stop], strict=True):
        last = len(found) == len(ends)
        answered = next((at for at in answers if since <= at and (last or until is None or at < until)), None)
        found.append(Share(party, since, until, answered, _verdict(party, since, until, answered, policy, now)))
    return found


def _answers(entries: Iterable[Entry], policy: Policy) -> list[datetime]:
    """When somebody did what stops the county's response clock, as ``clocks.intervals`` has it."""
    entries = list(entries)
    rejected = max((entry.seq for entry in entries if entry.event is Event.REJECT), default=0)
    reports = STOPS["report"]
    return [
        moment(entry)
        for entry in entries
        if entry.event in STOPS[policy.respond_stop] and (entry.event not in reports or entry.seq > rejected)
    ]


def _party(entry: Entry) -> str | None:
    if entry.event is Event.DISPATCH:
        return entry.data.get("grid")
    if entry.event is Event.TRANSFER:
        return entry.data.get("to")
    return None


def _verdict(
    party: str | None,
    since: datetime,
    until: datetime | None,
    answered: datetime | None,
    policy: Policy,
    now: datetime,
) -> Verdict:
    if party is None:
        return Verdict.NONE
    limit = since + timedelta(seconds=policy.respond_limit_s)
    if answered is not None:
        return Verdict.BROKEN if answered > limit else Verdict.KEPT
    if until is not None:
        return Verdict.BROKEN if until > limit else Verdict.NONE
    return Verdict.BROKEN if now > limit else Verdict.RUNNING
