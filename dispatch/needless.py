# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a notice is still wanted when its time has come."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from dispatch import inform
from dispatch.message import asked, step_of
from server.domain.lifecycle import FINAL_STATES, State
from server.domain.policy import Step, parse_policy
from server.models import Callout, Notice
from server.models.notice import INFORMING
from server.services import outcomes

_UNANSWERED = frozenset({State.SUSPECTED, State.REVIEWED, State.DISPATCHED})
# What a step waits for -> the states in which it has not come.
_WAITING = {
    "accept": _UNANSWERED,
    "arrive": _UNANSWERED | {State.ACCEPTED},
    "report": _UNANSWERED | {State.ACCEPTED, State.ON_SITE, State.IN_HAND},
    "verify": frozenset({State.REPORTED}),
    "close": frozenset({State.VERIFIED}),
}


def is_done(callout: Callout, step: Step | None) -> bool:
    """Whether what a call-out asks for has come; ``step``: the ladder's, None for a first call, which asks to accept.
    Whoever owns the place that became better known is asked to help, whoever has accepted."""
    state = State(callout.incident.state)
    if step is None and callout.cause.startswith("refined:"):
        return state is State.VERIFIED
    return state not in _WAITING[step.until if step else "accept"]


def is_handed_over(session: Session, callout: Callout, step: Step | None) -> bool:
    """Whether the fire was handed over since, and the wait for the answer began anew with others."""
    if step is not None and step.until not in ("accept", "arrive"):
        return False
    newer = select(Callout.id).where(
        Callout.incident_id == callout.incident_id, Callout.cause.startswith("transfer:"), Callout.id > callout.id
    )
    return session.scalar(newer.limit(1)) is not None


def _has_waited(notice: Notice) -> bool:
    return notice.attempts > 1 or notice.channel == "voice"


def reason(session: Session, notice: Notice) -> str | None:
    """Why the notice need not go any more, or None. A first telephone call is spared, too, when the word has arrived
    otherwise."""
    incident, callout = notice.incident, notice.callout
    if incident is not None and incident.state in FINAL_STATES:
        return "the incident was over before this could be sent"
    if incident is not None and callout is not None and callout.kind in INFORMING:
        return None if inform.still_true(callout) else "it is not so any more"
    answered, waited = incident is not None and incident.state not in _UNANSWERED, _has_waited(notice)
    if incident is not None and callout is not None and (answered or waited):
        first = asked(session, callout)
        step = step_of(parse_policy(incident.policy.body), first)
        if is_done(callout, step) or (answered and step is None and notice.channel == "voice"):
            return "somebody accepted" if step is None or step.until == "accept" else "it is not so any more"
        if waited and is_handed_over(session, first, step):
            return "it is not so any more"
    if notice.channel == "voice" and notice.attempts <= 1:
        channel = outcomes.arrived_beside(session, notice)
        return f"it arrived by {channel}" if channel is not None else None
    return None
