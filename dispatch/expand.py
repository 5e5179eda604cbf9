# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a call-out to notices: which grid, who answers for it, and what each is told through which channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from dispatch import message, region, roster
from dispatch.region import Region
from dispatch.responsible import Candidate
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.domain.policy import parse_policy
from server.models import Callout, Incident, Notice, Person
from server.services import incidents, notices
from server.services.actors import system
from server.services.notices import Draft

# From this probability on, the second grid's owner is told beside the first's.
NEIGHBOUR = 0.25
# A telephone call follows unless a receipt came in this time.
VOICE_WAIT = timedelta(seconds=45)
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

    def step(self, session: Session, now: datetime, limit: int = 25) -> int:
        """Expand at most ``limit`` waiting call-outs; the caller commits. Returns how many there were."""
        waiting = notices.waiting_callouts(session, limit)
        if not waiting:
            return 0
        self._region = region.load(session, self._region)
        # All incidents at once and in one order, so that two writers never wait for each other.
        session.scalars(
            select(Incident)
            .where(Incident.id.in_({callout.incident_id for callout in waiting}))
            .order_by(Incident.opened_at, Incident.id)
            .with_for_update(of=Incident)
        ).all()
        for callout in waiting:
            self._expand(session, self._region, callout, now)
        return len(waiting)

    def _expand(self, session: Session, place: Region, callout: Callout, now: datetime) -> None:
        incident = callout.incident
        if incident.state in _OVER:
            notices.drop(session, callout, now)
            return
        if callout.kind == "dispatch":
            calls = self._dispatch(session, place, callout, now)
        else:
            calls = self._climb(session, place, callout, now)
        told = _told(session, callout)
        fresh = [call for call in calls if call.person.id not in told]
        if calls and not fresh:
            notices.drop(session, callout, now)
            if _is_unreached(callout) and not notices.any_reached(session, callout.incident_id, told):
                notices.call_next(session, callout, now)
            return
        drafts = list(self._drafts(session, place, callout, fresh))
        reason = (
            "nobody holds this post"
            if not fresh
            else "no channel reaches " + ", ".join(f"person {call.person.id}" for call in fresh)
        )
        notices.expand(session, callout, drafts, now, reason=reason)

    def _dispatch(self, session: Session, place: Region, callout: Callout, now: datetime) -> list[Call]:
        """The first call, or the first after a hand-over: find the grid, journal it, tell the owners."""
        incident = callout.incident
        ranked = _rank(place, incident)
        grids = [candidate.code for candidate in ranked[:1]]
        grids += [candidate.code for candidate in ranked[1:2] if candidate.probability >= NEIGHBOUR]
        calls: list[Call] = []
        for grid in grids:
            part = "neighbour" if calls else "lead"
            calls += [Call(person, part) for person in self._find(session, place, callout, grid, now)]
        if not grids:
            calls = self._unplaced(session, place, callout, now)
        if incident.state in _DISPATCHABLE:
            data = {
                "cause": callout.cause,
                "grid": grids[0] if grids else None,
                "candidates": [
                    {"grid": candidate.code, "probability": round(candidate.probability, 3)}
                    for candidate in ranked[:_JOURNALLED]
                ],
                "people": [{"person": call.person.id, "as": call.part} for call in calls],
            }
            incidents.apply(session, incident.code, Event.DISPATCH, actor=_ACTOR, now=now, data=data)
        return calls

    def _climb(self, session: Session, place: Region, callout: Callout, now: datetime) -> list[Call]:
        """A step of the ladder: the people of its rung for the grid, or the county's duty while there is no grid."""
        incident = callout.incident
        if incident.grid_code is not None:
            people = self._find(session, place, callout, incident.grid_code, now)
            return [Call(person, "lead") for person in people]
        return self._unplaced(session, place, callout, now)

    @staticmethod
    def _unplaced(session: Session, place: Region, callout: Callout, now: datetime) -> list[Call]:
        """While there is no grid: the duty of the camera's county, above it the city's."""
        division = callout.incident.county_code
        if callout.rung == "city" or _is_unreached(callout):
            division = place.above(division, "city") or division
        return [Call(person, "unplaced") for person in roster.on_duty(session, division, "duty", now)]

    def _find(self, session: Session, place: Region, callout: Callout, grid: str, now: datetime) -> tuple[Person, ...]:
        """The people for a grid; the journal says when somebody stands in for an empty post."""
        found = roster.find(session, place, grid, callout.rung, now)
        if found.people and found.rung != callout.rung:
            data = {
                "rung": callout.rung,
                "cause": callout.cause,
                "grid": grid,
                "reason": "nobody holds this post",
                "instead": found.rung,
            }
            incidents.apply(session, callout.incident.code, Event.UNREACHED, actor=_ACTOR, now=now, data=data)
        return found.people

    def _drafts(self, session: Session, place: Region, callout: Callout, calls: Sequence[Call]) -> Iterator[Draft]:
        policy = parse_policy(callout.incident.policy.body)
        for call in {call.person.id: call for call in reversed(calls)}.values():
            for channel, wait in channels_of(call.person, self._channels):
                facts = message.facts_of(place, callout, policy, call.part, self._zone)
                payload = message.compose(session, callout, policy, facts, call.person.language, channel)
                yield Draft(call.person, channel, payload, wait)


def channels_of(person: Person, channels: Sequence[str]) -> list[tuple[str, timedelta]]:
    """The channels that lead to a person, and how long each waits. A call waits to see whether the word has arrived;
    with no other channel there is nothing to wait for."""
    usable = [name for name in channels if name == "mqtt" or person.phone]
    return [(name, VOICE_WAIT if name == "voice" and len(usable) > 1 else timedelta()) for name in usable]


def _rank(place: Region, incident: Incident) -> list[Candidate]:
    """The candidates for an incident's place. A grid that somebody named (a hand-over) is not second-guessed."""
    if incident.grid_code is not None:
        return [Candidate(incident.grid_code, 1.0)]
    if incident.lat is None or incident.lon is None:
        return []
    return place.index.rank(
        incident.lat,
        incident.lon,
        bearing=incident.bearing or 0.0,
        along_m=incident.along_m or 0.0,
        across_m=incident.across_m or 0.0,
    )


def _is_unreached(callout: Callout) -> bool:
    """Whether it stands in for a call-out that reached nobody."""
    return callout.cause.startswith("unreached:")


def _told(session: Session, callout: Callout) -> set[int]:
    """Who need not be told again: those told for the same cause by another rung's call-out; and where nobody was
    reached, all who were told before."""
    rows = (
        select(Notice.person_id)
        .join(Callout, Callout.id == Notice.callout_id)
        .where(Callout.incident_id == callout.incident_id)
    )
    if not _is_unreached(callout):
        rows = rows.where(Callout.cause == callout.cause)
    return set(session.scalars(rows))
