# SPDX-License-Identifier: AGPL-3.0-or-later
"""The transition table, walked as a whole."""

from __future__ import annotations

import itertools

import pytest

from server.domain.errors import NotAllowedNow
from server.domain.lifecycle import (
    ANNOTATIONS,
    CLOCK_EVENTS,
    FINAL_STATES,
    OPEN_STATES,
    TRANSITIONS,
    Event,
    State,
    after,
)

PRODUCT = list(itertools.product(State, Event))
# What each state answers to, written out a second time and by hand: the table must agree with the prose of the rules.
MOVES = {
    State.SUSPECTED: "review_real>reviewed dispatch>dispatched mark_false>false_alarm excuse>excused",
    State.REVIEWED: "dispatch>dispatched mark_false>false_alarm excuse>excused",
    State.DISPATCHED: "dispatch>dispatched review_real>dispatched accept>accepted transfer>dispatched"
    " mark_false>false_alarm excuse>excused",
    State.ACCEPTED: "set_off>accepted arrive>on_site report_false>reported transfer>dispatched"
    " mark_false>false_alarm excuse>excused",
    State.ON_SITE: "start_disposal>in_hand report_done>reported report_false>reported transfer>dispatched"
    " mark_false>false_alarm excuse>excused",
    State.IN_HAND: "report_done>reported report_false>reported transfer>dispatched"
    " mark_false>false_alarm excuse>excused",
    State.REPORTED: "verify>verified reject>in_hand mark_false>false_alarm excuse>excused",
    State.VERIFIED: "close>closed excuse>verified",
    State.CLOSED: "reopen>closed excuse>closed",
    State.FALSE_ALARM: "reopen>false_alarm",
    State.EXCUSED: "reopen>excused",
}


@pytest.mark.parametrize(("state", "event"), PRODUCT)
def test_every_state_answers_every_event_by_rule_or_refuses(state: State, event: Event) -> None:
    """State × Event: the move the rules name, no move for facts, a clear refusal for the rest."""
    moves = dict(move.split(">") for move in MOVES[state].split())
    if event.value in moves:
        assert after(state, event) == moves[event.value]
    elif event in ANNOTATIONS or (event in CLOCK_EVENTS and state in OPEN_STATES):
        assert after(state, event) is state
    else:
        with pytest.raises(NotAllowedNow, match=f"{state.value}.*{event.value}"):
            after(state, event)


def test_every_open_state_can_come_to_an_end() -> None:
    """From each open state some path leads to a final one."""
    reachable = set(FINAL_STATES)
    for _ in State:
        reachable |= {state for (state, _), target in TRANSITIONS.items() if target in reachable}
    assert reachable == set(State)


def test_nothing_leaves_a_final_state() -> None:
    """A closed incident stays closed; a new fire is a new incident."""
    assert all(target is state for (state, _), target in TRANSITIONS.items() if state in FINAL_STATES)
