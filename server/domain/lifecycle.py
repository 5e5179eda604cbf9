# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of an incident: its states, its events and the one table that joins them.

疑似 → 研判 → 已派单 → 已签收 → 已到场 → 处置中 → 已反馈 → 核查 → 结案, with the branches 转派, 误报, 免责, 重开.
"""

from __future__ import annotations

from enum import StrEnum

from server.domain.errors import NotAllowedNow


class State(StrEnum):
    """Where an incident stands. The names are stored; the labels are the screens' business."""

    SUSPECTED = "suspected"  # 疑似
    REVIEWED = "reviewed"  # 研判为真
    DISPATCHED = "dispatched"  # 已派单
    ACCEPTED = "accepted"  # 已签收
    ON_SITE = "on_site"  # 已到场
    IN_HAND = "in_hand"  # 处置中
    REPORTED = "reported"  # 已反馈
    VERIFIED = "verified"  # 核查
    CLOSED = "closed"  # 结案
    FALSE_ALARM = "false_alarm"  # 误报
    EXCUSED = "excused"  # 免责


class Event(StrEnum):
    """What can happen to an incident."""

    # By machines
    OPEN = "open"  # the first sighting's transaction: T2
    SIGHTING = "sighting"  # a further sighting of the same fire
    ONSET = "onset"  # the edge looked back: when a sighting's smoke first showed (T0)
    PICTURE = "picture"
    DISPATCH = "dispatch"  # the responsible person is known and is being told
    SENT = "sent"  # a notice left: T3
    DELIVERED = "delivered"  # its receipt: T3d
    UNREACHED = "unreached"  # a call-out found nobody, or no channel worked
    REMIND = "remind"
    ESCALATE = "escalate"
    BREACH = "breach"  # a limit passed
    CLOCK_BACK = "clock_back"  # the server's clock was set back
    # By people
    REVIEW_REAL = "review_real"
    ACCEPT = "accept"  # 签收: T4
    SET_OFF = "set_off"  # under way: T5
    ARRIVE = "arrive"  # 到场: T6
    START_DISPOSAL = "start_disposal"
    REPORT_DONE = "report_done"  # 处置完成: T7
    REPORT_FALSE = "report_false"  # the worker found no fire
    TRANSFER = "transfer"  # 转派
    VERIFY = "verify"  # 核查通过
    REJECT = "reject"  # 核查不通过: back to the field
    CLOSE = "close"  # 结案: T8
    MARK_FALSE = "mark_false"  # 误报
    EXCUSE = "excuse"  # 免责
    REOPEN = "reopen"  # 重开: a new incident is linked to this one
    APPEAL = "appeal"  # 申诉
    UNDO = "undo"  # a mistaken tap taken back, on record


# What a person still has to act on. An incident in none of these is over.
OPEN_STATES = frozenset(
    {
        State.SUSPECTED,
        State.REVIEWED,
        State.DISPATCHED,
        State.ACCEPTED,
        State.ON_SITE,
        State.IN_HAND,
        State.REPORTED,
        State.VERIFIED,
    }
)
FINAL_STATES = frozenset(State) - OPEN_STATES
# States in which smoke seen at the same place is the same fire.
BURNING_STATES = OPEN_STATES - {State.VERIFIED}

# Recorded in any state, moving none: facts arrive when they arrive.
ANNOTATIONS = frozenset(
    {
        Event.SIGHTING,
        Event.ONSET,
        Event.PICTURE,
        Event.SENT,
        Event.DELIVERED,
        Event.UNREACHED,
        Event.CLOCK_BACK,
        Event.APPEAL,
    }
)
# What the clock writes; only while there is something to act on.
CLOCK_EVENTS = frozenset({Event.REMIND, Event.ESCALATE, Event.BREACH})
# A worker's or supervisor's tap that may be taken back within the undo time.
UNDOABLE = frozenset(
    {
        Event.ACCEPT,
        Event.SET_OFF,
        Event.ARRIVE,
        Event.START_DISPOSAL,
        Event.REPORT_DONE,
        Event.REPORT_FALSE,
        Event.VERIFY,
        Event.REJECT,
        Event.MARK_FALSE,
        Event.EXCUSE,
    }
)

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.SUSPECTED, Event.REVIEW_REAL): State.REVIEWED,
    (State.SUSPECTED, Event.DISPATCH): State.DISPATCHED,
    (State.REVIEWED, Event.DISPATCH): State.DISPATCHED,
    (State.DISPATCHED, Event.DISPATCH): State.DISPATCHED,
    (State.DISPATCHED, Event.REVIEW_REAL): State.DISPATCHED,
    (State.DISPATCHED, Event.ACCEPT): State.ACCEPTED,
    (State.ACCEPTED, Event.SET_OFF): State.ACCEPTED,
    (State.ACCEPTED, Event.ARRIVE): State.ON_SITE,
    (State.ON_SITE, Event.START_DISPOSAL): State.IN_HAND,
    (State.ON_SITE, Event.REPORT_DONE): State.REPORTED,
    (State.IN_HAND, Event.REPORT_DONE): State.REPORTED,
    (State.ACCEPTED, Event.REPORT_FALSE): State.REPORTED,
    (State.ON_SITE, Event.REPORT_FALSE): State.REPORTED,
    (State.IN_HAND, Event.REPORT_FALSE): State.REPORTED,
    (State.REPORTED, Event.VERIFY): State.VERIFIED,
    (State.REPORTED, Event.REJECT): State.IN_HAND,
    (State.VERIFIED, Event.CLOSE): State.CLOSED,
    (State.CLOSED, Event.REOPEN): State.CLOSED,
    (State.FALSE_ALARM, Event.REOPEN): State.FALSE_ALARM,
    (State.EXCUSED, Event.REOPEN): State.EXCUSED,
    # An excuse after the fact is a note beside the verdict: it moves nothing and pauses no clock.
    (State.VERIFIED, Event.EXCUSE): State.VERIFIED,
    (State.CLOSED, Event.EXCUSE): State.CLOSED,
    **{
        (state, Event.TRANSFER): State.DISPATCHED
        for state in (State.DISPATCHED, State.ACCEPTED, State.ON_SITE, State.IN_HAND)
    },
    **{
        (state, event): final
        for state in (*sorted(BURNING_STATES),)
        for event, final in ((Event.MARK_FALSE, State.FALSE_ALARM), (Event.EXCUSE, State.EXCUSED))
    },
    **{(state, event): state for state in State for event in ANNOTATIONS},
    **{(state, event): state for state in sorted(OPEN_STATES) for event in CLOCK_EVENTS},
}


def after(state: State, event: Event) -> State:
    """The state that ``event`` leads to from ``state``.

    Raises NotAllowedNow when the table has no such transition. UNDO is not in the table: where it
    leads depends on the entry taken back.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise NotAllowedNow(state, event) from None
