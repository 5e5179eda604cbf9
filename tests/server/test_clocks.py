# SPDX-License-Identifier: AGPL-3.0-or-later
"""The three clocks, from journals written by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.domain.clocks import CLOCK_BACK, Entry, Verdict, intervals, stamps
from server.domain.lifecycle import Event, State
from server.domain.policy import Policy

T2 = datetime(2026, 10, 8, 10, 0, tzinfo=UTC)
POLICY = Policy()


def journal(*lines: tuple[float, Event], **opening: Any) -> list[Entry]:
    """A journal whose lines come so many seconds after T2."""
    start = {
        "t0_earliest": (T2 - timedelta(seconds=30)).isoformat(),
        "t0_latest": (T2 - timedelta(seconds=20)).isoformat(),
        "t1": (T2 - timedelta(seconds=1)).isoformat(),
        "clock_offset_ms": 0.0,
        "clock_error_ms": 0.0,
    } | opening
    entries = [Entry(1, T2, Event.OPEN, None, State.SUSPECTED, "system:engine", start)]
    for seq, (after, event) in enumerate(lines, start=2):
        at = T2 + timedelta(seconds=after)
        entries.append(Entry(seq, at, event, State.SUSPECTED, State.SUSPECTED, "person:1", {}))
    return entries


def verdicts(entries: list[Entry], after: float, policy: Policy = POLICY) -> list[str]:
    """The three verdicts so many seconds after T2."""
    return [i.verdict.value for i in intervals(stamps(entries, policy), policy, T2 + timedelta(seconds=after))]


def test_late_is_elapsed_greater_than_limit_exactly() -> None:
    """300.000 s is in time; a microsecond more is late."""
    assert verdicts(journal((300, Event.ACCEPT)), 301)[1] == "kept"
    assert verdicts(journal((300.000001, Event.ACCEPT)), 301)[1] == "broken"
    assert verdicts(journal(), 300)[1] == "running"
    assert verdicts(journal(), 300.000001)[1] == "broken"


def test_accepting_never_stops_the_disposal_clock() -> None:
    """Accepted and forgotten is broken after thirty minutes."""
    assert verdicts(journal((10, Event.ACCEPT)), 1801) == ["kept", "kept", "broken"]


def test_a_county_may_stop_the_response_clock_on_arrival() -> None:
    """With respond_stop=arrive, T6 counts and T4 does not; whoever reports from the place has arrived."""
    policy = Policy(respond_stop="arrive")
    assert verdicts(journal((10, Event.ACCEPT)), 301, policy)[1] == "broken"
    assert verdicts(journal((10, Event.ACCEPT), (299, Event.ARRIVE)), 301, policy)[1] == "kept"
    assert verdicts(journal((10, Event.ACCEPT), (299, Event.REPORT_FALSE)), 900, policy)[1] == "kept"
    assert verdicts(journal((10, Event.ACCEPT), (301, Event.REPORT_FALSE)), 900, policy)[1] == "broken"


def test_discovery_is_scored_by_its_worst_case() -> None:
    """The interval runs from the last clean frame."""
    discover = intervals(stamps(journal(), POLICY), POLICY, T2)[0]
    assert (discover.elapsed_s, discover.best_s, discover.verdict) == (30.0, 20.0, Verdict.KEPT)


@pytest.mark.parametrize(
    ("earliest", "latest", "verdict"),
    [(59, 50, "kept"), (61, 50, "disputed"), (75, 61, "broken"), (None, 5, "disputed")],
)
def test_discovery_is_disputed_when_the_limit_lies_inside_the_uncertainty(
    earliest: float | None, latest: float, verdict: str
) -> None:
    """Certainly kept, certainly broken, or neither can be proved."""
    opening = {
        "t0_earliest": None if earliest is None else (T2 - timedelta(seconds=earliest)).isoformat(),
        "t0_latest": (T2 - timedelta(seconds=latest)).isoformat(),
    }
    assert verdicts(journal(**opening), 0)[0] == verdict


def test_a_skewed_edge_clock_makes_no_breach_and_hides_none() -> None:
    """Edge clock five seconds ahead, measured: the stamps come out on the server's scale."""
    ahead = timedelta(seconds=5)
    opening = {
        "t0_earliest": (T2 - timedelta(seconds=62) + ahead).isoformat(),
        "t0_latest": (T2 - timedelta(seconds=61) + ahead).isoformat(),
        "clock_offset_ms": -5000.0,
        "clock_error_ms": 50.0,
    }
    discover = intervals(stamps(journal(**opening), POLICY), POLICY, T2)[0]
    assert discover.verdict is Verdict.BROKEN
    assert discover.elapsed_s == pytest.approx(62.05)


def test_an_unmeasured_edge_clock_widens_the_interval() -> None:
    """Nobody knows the offset: two seconds are assumed either way, so 59 s may be 61."""
    opening = {"t0_earliest": (T2 - timedelta(seconds=59)).isoformat(), "clock_offset_ms": None, "clock_error_ms": None}
    assert verdicts(journal(**opening), 0)[0] == "disputed"


def test_a_rejected_report_does_not_stamp_t7() -> None:
    """The fire was not out: the last report counts."""
    entries = journal((60, Event.REPORT_DONE), (90, Event.REJECT), (1900, Event.REPORT_DONE))
    assert stamps(entries, POLICY).t7 == T2 + timedelta(seconds=1900)
    assert verdicts(entries, 2000)[2] == "broken"


def test_what_was_undone_stamps_nothing() -> None:
    """The line stays on record, its stamp goes."""
    entries = journal((60, Event.ACCEPT), (70, Event.UNDO))
    entries[-1] = Entry(3, entries[-1].at, Event.UNDO, State.ACCEPTED, State.DISPATCHED, "person:1", {"undoes": 2})
    assert stamps(entries, POLICY).t4 is None


def test_an_end_that_was_stamped_by_a_clock_set_back_is_disputed() -> None:
    """Ended before the limit by the clock's word, which cannot be trusted then."""
    entries = journal((200, Event.MARK_FALSE))
    ended = replace(entries[-1], to_state=State.FALSE_ALARM)
    assert verdicts([entries[0], ended], 400)[1:] == ["none", "none"]
    assert verdicts([entries[0], replace(ended, data={CLOCK_BACK: True})], 400)[1:] == ["disputed", "disputed"]
