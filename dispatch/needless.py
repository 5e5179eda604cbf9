# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a notice is still wanted when its time has come."""

from __future__ import annotations

from sqlalchemy.orm import Session

from dispatch import inform
from dispatch.message import step_of
from server.domain.lifecycle import FINAL_STATES, State
from server.domain.policy import parse_policy
from server.models import Notice
from server.models.notice import INFORMING
from server.services import outcomes

_UNANSWERED = (State.SUSPECTED, State.REVIEWED, State.DISPATCHED)


def reason(session: Session, notice: Notice) -> str | None:
    """Why the notice need not go any more, or None. A first telephone call is spared when the word has arrived
    otherwise, or when somebody has accepted what it would ask to be accepted."""
    incident, callout = notice.incident, notice.callout
    if incident is not None and incident.state in FINAL_STATES:
        return "the incident was over before this could be sent"
    if incident is not None and callout is not None and callout.kind in INFORMING:
        return None if inform.still_true(callout) else "it is not so any more"
    if notice.channel != "voice" or notice.attempts > 1:
        return None
    if (channel := outcomes.arrived_beside(session, notice)) is not None:
        return f"it arrived by {channel}"
    if incident is None or callout is None or incident.state in _UNANSWERED:
        return None
    step = step_of(parse_policy(incident.policy.body), callout)
    if step is None or step.until == "accept":
        return "somebody accepted"
    return None
