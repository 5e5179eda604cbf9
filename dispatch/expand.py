# SPDX-License-Identifier: AGPL-3.0-or-later
"""From call-outs to notices: which grid, who answers for it, and what each is told through which channel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from dispatch import message, region
from dispatch.region import Region
from dispatch.responsible import Candidate
from dispatch.roster import Roster
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.domain.policy import Policy, parse_policy
from server.models import Callout, Incident, Notice, Person
from server.services import incidents, notices, places
from server.services.actors import system
from server.services.notices import Draft

# From this probability on, the second grid's owner is told beside the first's.
NEIGHBOUR = 0.25
# A telephone call follows unless a receipt came in this time.
VOICE_WAIT = timedelta(seconds=45)
_LOOK_EVERY = timedelta(seconds=1)
_JOURNALLED = 5  # candidates kept in the journal
_ACTOR = system("dispatch")
_OVER = FINAL_STATES | {State.VERIFIED}
_DISPATCHABLE = (State.SUSPECTED, State.REVIEWED, State.DISPATCHED)


@dataclass(frozen=True, slots=True)
class Call:
    """One person to be told, and as what: "lead", "neighbour" (of a border) or "unplaced" (no position is known)."""

    person: Person
    part: str


class Expander:
    """Expands waiting call-outs. ``channels``: the names of those that are set up."""

    def __init__(self, channels: Sequence[str], zone: ZoneInfo) -> None:
        self._channels = tuple(channels)
        self._zone = zone
        self._region: Region | None = None
        self._looked_at: datetime | None = None
        self._policies: dict[int, Policy] = {}

    def step(
        self, session: Session, now: datetime, limit: int = 50, claimed: Collection[str] = ()
    ) -> tuple[int, list[Notice]]:
        """Expand at most ``limit`` waiting call-outs; the caller commits. Returns how many there were, and the notices
        written and claimed for the channels in ``claimed``, which the caller sends."""
        waiting = notices.waiting_callouts(session, limit)
        if not waiting:
            return 0, []
        self._look_at_region(session, now)
        assert self._region is not None
        locked = incidents.lock_all(session, {callout.incident_id for callout in waiting})
        for callout in waiting:
            set_committed_value(callout, "incident", locked[callout.incident_id])
        batch = _Batch(session, self._region, waiting, now)
        written: list[Notice] = []
        for callout in waiting:
            written += self._expand(batch, callout, claimed)
        return len(waiting), [notice for notice in written if notice.attempts]

    def _look_at_region(self, session: Session, now: datetime) -> None:
        """Load the region, and again when it has changed; looked for once a second."""
        if self._region is None or self._looked_at is None or abs(now - self._looked_at) >= _LOOK_EVERY:
            self._region = region.load(session, self._region)
            self._looked_at = now

    def _expand(self, batch: _Batch, callout: Callout, claimed: Collection[str]) -> list[Notice]:
        session, now = batch.session, batch.now
        if callout.incident.state in _OVER:
            notices.drop(session, callout, now)
            return []
        calls = batch.dispatch(callout) if callout.kind == "dispatch" else batch.climb(callout)
        told = batch.told(callout)
        fresh = [call for call in calls if call.person.id not in told]
        if calls and not fresh:
            notices.drop(session, callout, now)
            if _is_unreached(callout) and not notices.any_reached(session, callout.incident_id, told):
                notices.call_next(session, callout, now)
            return []
        reason = "nobody holds this post"
        if fresh:
            reason = "no channel reaches " + ", ".join(f"person {call.person.id}" for call in fresh)
        drafts = self._drafts(batch, callout, fresh)
        written = notices.expand(session, callout, drafts, now, reason=reason, claimed=claimed)
        batch.tell(callout, written)
        return written

    def _drafts(self, batch: _Batch, callout: Callout, calls: Sequence[Call]) -> Iterator[Draft]:
        policy = self._policy(callout.incident)
        picture = batch.pictures.get(callout.incident_id)
        for call in {call.person.id: call for call in reversed(calls)}.values():
            facts = message.facts_of(batch.region, callout, policy, call.part, self._zone)
            for channel, wait in channels_of(call.person, self._channels):
                payload = message.compose(callout, policy, facts, call.person.language, channel, picture)
                yield Draft(call.person, channel, payload, wait)

    def _policy(self, incident: Incident) -> Policy:
        """The incident's policy; a version never changes, so each is read once."""
        if incident.policy_id not in self._policies:
            self._policies[incident.policy_id] = parse_policy(incident.policy.body)
        return self._policies[incident.policy_id]


def channels_of(person: Person, channels: Sequence[str]) -> list[tuple[str, timedelta]]:
    """The channels that lead to a person, and how long each waits. A call waits to see whether the word has arrived;
    with no other channel there is nothing to wait for."""
    usable = [name for name in channels if name == "mqtt" or person.phone]
    return [(name, VOICE_WAIT if name == "voice" and len(usable) > 1 else timedelta()) for name in usable]


class _Batch:
    """Some call-outs with all that must be known of them, asked for once. Their incidents are locked."""

    def __init__(self, session: Session, place: Region, callouts: Sequence[Callout], now: datetime) -> None:
        self.session = session
        self.region = place
        self.now = now
        ids = {callout.incident_id for callout in callouts}
        self.pictures = message.announced_pictures(session, ids)
        self._ranked = {callout.incident_id: _rank(place, callout.incident) for callout in callouts}
        self._roster = Roster(session, self._divisions(callouts), now)
        self._told: dict[int, list[tuple[str, int]]] = defaultdict(list)
        # A first call has nobody told before it.
        later = {callout.incident_id for callout in callouts if callout.kind != "dispatch" or _is_unreached(callout)}
        if later:
            rows = session.execute(
                select(Callout.incident_id, Callout.cause, Notice.person_id)
                .join(Notice, Notice.callout_id == Callout.id)
                .where(Callout.incident_id.in_(later))
            )
            for incident_id, cause, person_id in rows:
                self._told[incident_id].append((cause, person_id))

    def _divisions(self, callouts: Sequence[Callout]) -> set[str]:
        """Every division whose people may be asked for."""
        codes = {code for ranked in self._ranked.values() for code in _grids(ranked)}
        codes |= {callout.incident.grid_code or callout.incident.county_code for callout in callouts}
        codes |= {callout.incident.county_code for callout in callouts}
        above = {self.region.above(code, level) for code in codes for level in ("township", "county", "city")}
        return codes | {code for code in above if code is not None}

    def told(self, callout: Callout) -> set[int]:
        """Who need not be told again: those told for the same cause by another rung's call-out; and where nobody was
        reached, all who were told before."""
        everybody = _is_unreached(callout)
        rows = self._told[callout.incident_id]
        return {person_id for cause, person_id in rows if everybody or cause == callout.cause}

    def tell(self, callout: Callout, written: Sequence[Notice]) -> None:
        """These were told, too."""
        self._told[callout.incident_id] += [(callout.cause, notice.person_id) for notice in written]

    def dispatch(self, callout: Callout) -> list[Call]:
        """The first call, or the first after a hand-over: find the grid, journal it, tell the owners."""
        incident = callout.incident
        ranked = _rank(self.region, incident) if incident.grid_code else self._ranked[incident.id]
        grids = _grids(ranked)
        calls: list[Call] = []
        for grid in grids:
            part = "neighbour" if calls else "lead"
            calls += [Call(person, part) for person in self._find(callout, grid)]
        if not grids:
            calls = self._unplaced(callout)
        if incident.state in _DISPATCHABLE:
            data = {
                "cause": callout.cause,
                "grid": grids[0] if grids else None,
                "county": self.region.above(grids[0], "county") if grids else None,
                "candidates": [
                    {"grid": candidate.code, "probability": round(candidate.probability, 3)}
                    for candidate in ranked[:_JOURNALLED]
                ],
                "people": [{"person": call.person.id, "as": call.part} for call in calls],
            }
            incidents.apply_to(self.session, incident, Event.DISPATCH, actor=_ACTOR, now=self.now, data=data)
        return calls

    def climb(self, callout: Callout) -> list[Call]:
        """A step of the ladder: the people of its rung for the grid, or the county's duty while there is no grid."""
        grid = callout.incident.grid_code
        if grid is None:
            return self._unplaced(callout)
        return [Call(person, "lead") for person in self._find(callout, grid)]

    def _unplaced(self, callout: Callout) -> list[Call]:
        """While there is no grid: the duty of the camera's county, above it the city's."""
        division = callout.incident.county_code
        if callout.rung == "city" or _is_unreached(callout):
            division = self.region.above(division, "city") or division
        return [Call(person, "unplaced") for person in self._roster.on_duty(division, "duty")]

    def _find(self, callout: Callout, grid: str) -> tuple[Person, ...]:
        """The people for a grid; the journal says when somebody stands in for an empty post."""
        found = self._roster.find(self.region, grid, callout.rung)
        if found.people and found.rung != callout.rung:
            data = {
                "rung": callout.rung,
                "cause": callout.cause,
                "grid": grid,
                "reason": "nobody holds this post",
                "instead": found.rung,
            }
            incidents.apply_to(self.session, callout.incident, Event.UNREACHED, actor=_ACTOR, now=self.now, data=data)
        return found.people


def _rank(place: Region, incident: Incident) -> list[Candidate]:
    """The candidates for an incident's place. A grid that somebody named (a hand-over) is not second-guessed."""
    if incident.grid_code is not None:
        return [Candidate(incident.grid_code, 1.0)]
    if incident.lat is None or incident.lon is None:
        return []
    points = places.points(incident)
    if points is not None and (ranked := place.index.rank_points(points)):
        return ranked
    return place.index.rank(
        incident.lat,
        incident.lon,
        bearing=incident.bearing or 0.0,
        along_m=incident.along_m or 0.0,
        across_m=incident.across_m or 0.0,
    )


def _grids(ranked: Sequence[Candidate]) -> list[str]:
    """The grids whose owners are told: the most probable, and its neighbour when that is likely enough."""
    second = [candidate.code for candidate in ranked[1:2] if candidate.probability >= NEIGHBOUR]
    return [candidate.code for candidate in ranked[:1]] + second


def _is_unreached(callout: Callout) -> bool:
    """Whether it stands in for a call-out that reached nobody."""
    return callout.cause.startswith("unreached:")
