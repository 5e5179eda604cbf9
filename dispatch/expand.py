# SPDX-License-Identifier: AGPL-3.0-or-later
"""From call-outs to notices: which grid, who answers for it, and what each is told through which channel."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from dispatch import inform, message, needless, region
from dispatch.batch import Batch, Call, is_refined, is_unreached
from dispatch.reach import Links, Reach, may_accept
from dispatch.region import Region
from dispatch.roster import Roster
from server.domain.lifecycle import FINAL_STATES, Event
from server.domain.policy import Policy, Step, parse_policy
from server.models import Callout, Incident
from server.models.notice import INFORMING
from server.services import incidents, notices, outcomes
from server.services.notices import Draft, NewNotice

_LOOK_EVERY = timedelta(seconds=1)
_PUT_OFF = timedelta(seconds=30)


class Expander:
    """Expands waiting call-outs. ``reach``: who can be reached by which channel (or the names of the channels alone);
    ``zone`` and ``country``: of the times in texts and rosters, and of the holidays; ``links``: what texts may hold."""

    def __init__(
        self, reach: Reach | Sequence[str], zone: ZoneInfo, country: str = "CN", links: Links | None = None
    ) -> None:
        self._reach = reach if isinstance(reach, Reach) else Reach(reach)
        self._links = links or Links()
        self._zone = zone
        self._country = country
        self._region: Region | None = None
        self._looked_at: datetime | None = None
        self._policies: dict[int, Policy] = {}
        # Call-outs on which a step failed, and until when the others go first: one must not hold up all.
        self._put_off: dict[int, datetime] = {}

    def step(
        self, session: Session, now: datetime, limit: int = 50, claimed: Collection[str] = ()
    ) -> tuple[int, list[NewNotice]]:
        """Expand at most ``limit`` waiting call-outs; the caller commits. Returns how many there were, and the notices
        written and claimed for the channels in ``claimed``, which the caller sends."""
        self._put_off = {number: until for number, until in self._put_off.items() if until > now}
        waiting = notices.waiting_callouts(session, limit, self._put_off)
        if not waiting:
            return 0, []
        self._look_at_region(session, now)
        assert self._region is not None
        locked = incidents.lock_all(session, {callout.incident_id for callout in waiting})
        for callout in waiting:
            set_committed_value(callout, "incident", locked[callout.incident_id])
        roster = partial(Roster, zone=self._zone, country=self._country)
        batch = Batch(session, self._region, waiting, now, roster)
        written: list[NewNotice] = []
        for callout in waiting:
            try:
                written += self._expand(batch, callout, claimed)
            except Exception:
                self._put_off[callout.id] = now + _PUT_OFF
                raise
        batch.write(waiting)
        return len(waiting), [notice for notice in written if notice.attempts]

    def _look_at_region(self, session: Session, now: datetime) -> None:
        """Load the region, and again when it has changed; looked for once a second."""
        if self._region is None or self._looked_at is None or abs(now - self._looked_at) >= _LOOK_EVERY:
            loaded = region.load(session, self._region)
            if loaded is not self._region:
                gc.freeze()  # thousands of outlines that no collection needs to walk through, with everything waiting
            self._region, self._looked_at = loaded, now
            self._reach.refresh(session)

    def _expand(self, batch: Batch, callout: Callout, claimed: Collection[str]) -> list[NewNotice]:
        session, now = batch.session, batch.now
        if callout.incident.state in FINAL_STATES:
            return []
        if callout.kind in INFORMING:
            drafts = self._informing(batch, callout) if inform.still_true(callout) else []
            return batch.tell(callout, notices.expand(callout, drafts, now, claimed))
        first = message.asked(session, callout)
        step = message.step_of(self._policy(callout.incident), first)
        if needless.is_done(callout, step) or (is_refined(callout) and not batch.is_elsewhere(callout)):
            return []
        if is_unreached(callout) and needless.is_handed_over(session, first, step):
            return []
        calls = batch.dispatch(callout) if callout.kind == "dispatch" else batch.climb(callout)
        told = batch.told(callout)
        fresh = [call for call in calls if call.person.id not in told]
        if calls and not fresh:
            batch.write()
            if is_unreached(callout) and not outcomes.any_reached(session, callout.incident_id, told):
                outcomes.call_next(session, callout, now)
            return []
        made = notices.expand(callout, self._drafts(batch, callout, first, step, fresh), now, claimed)
        if not made:
            # So that the ladder's next rung and the console know.
            reason = "nobody holds this post"
            if fresh:
                reason = "no channel reaches " + ", ".join(f"person {call.person.id}" for call in fresh)
            batch.journal(callout, Event.UNREACHED, {"rung": callout.rung, "cause": callout.cause, "reason": reason})
            if fresh or is_unreached(callout):
                outcomes.call_next(session, callout, now)
        return batch.tell(callout, made)

    def _drafts(
        self, batch: Batch, callout: Callout, first: Callout, step: Step | None, calls: Sequence[Call]
    ) -> Iterator[Draft]:
        """``first`` and its ``step``: what is spoken of (``message.asked``)."""
        policy = self._policy(callout.incident)
        spoken = first if step else callout
        for call in {call.person.id: call for call in reversed(calls)}.values():
            facts = message.facts_of(batch.region, spoken, policy, call.part, self._zone)
            for channel, wait in self._reach.of(call.person):
                tails = self._links.tails(callout, step, call.person, batch.now) if channel == "sms" else ()
                payload = message.compose(callout, policy, facts, call.person.language, channel, tails)
                if channel == "voice":
                    payload["accepts"] = may_accept(callout, step, call.person)
                yield Draft(call.person, channel, payload, wait)

    def _informing(self, batch: Batch, callout: Callout) -> Iterator[Draft]:
        policy, person = self._policy(callout.incident), inform.who(batch.session, callout)
        facts = message.facts_of(batch.region, callout, policy, person.name, self._zone)
        for other, channel in inform.others(batch.session, callout, person):
            yield Draft(other, channel, message.compose(callout, policy, facts, other.language, channel))

    def _policy(self, incident: Incident) -> Policy:
        """The incident's policy; a version never changes, so each is read once."""
        if incident.policy_id not in self._policies:
            self._policies[incident.policy_id] = parse_policy(incident.policy.body)
        return self._policies[incident.policy_id]
