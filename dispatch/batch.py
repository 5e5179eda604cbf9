# SPDX-License-Identifier: AGPL-3.0-or-later
"""Some call-outs at once: all that must be known of them is asked for together, and what comes of them is written
together. Who is called, by the rung and the place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from dispatch import message, whose
from dispatch.region import Region
from dispatch.roster import Roster
from server import wake
from server.domain.lifecycle import Event, State
from server.domain.policy import BESIDE
from server.models import Callout, Incident, JournalEntry, Notice, Person
from server.services import bulk, incidents, notices
from server.services.notices import NewNotice

_JOURNALLED = 5  # candidates kept in the journal
_DISPATCHABLE = (State.SUSPECTED, State.REVIEWED, State.DISPATCHED)


# Whom an incident's call-outs told since it was last handed over: whoever was told before that was told of another's.
_TOLD = (
    select(Callout.incident_id, Callout.cause, Notice.person_id)
    .join(Notice, Notice.callout_id == Callout.id)
    .where(
        Callout.incident_id.in_(bindparam("ids", expanding=True)),
        Callout.id >= message.handed_over(Callout.incident_id),
    )
)


@dataclass(frozen=True, slots=True)
class Call:
    """One person to be told, and as what: "lead", "neighbour" (of a border) or "unplaced" (no position is known)."""

    person: Person
    part: str


class Batch:
    """Some call-outs with all that must be known of them, asked for once. Their incidents are locked."""

    def __init__(
        self,
        session: Session,
        place: Region,
        callouts: Sequence[Callout],
        now: datetime,
        roster: Callable[[Session, Collection[str], datetime], Roster],
    ) -> None:
        self.session = session
        self.region = place
        self.now = now
        # To be written together: notices, lines of journals, and the incidents whose journals those are.
        self._made: list[NewNotice] = []
        self._lines: list[dict[str, Any]] = []
        self._moved: dict[int, Incident] = {}
        fires = {callout.incident_id: callout.incident for callout in callouts}
        refined = {callout.incident_id for callout in callouts if is_refined(callout)}
        self._ranked = {
            number: whose.spread(place.index, incident) if number in refined else whose.rank(place, incident)
            for number, incident in fires.items()
        }
        self._zones = {number: whose.zones(place, incident) for number, incident in fires.items()}
        self._roster = roster(session, self._divisions(callouts), now)
        self._told: dict[int, list[tuple[str, int]]] = defaultdict(list)
        # A first call has nobody told before it.
        later = {callout.incident_id for callout in callouts if callout.kind != "dispatch" or is_unreached(callout)}
        if later:
            for incident_id, cause, person_id in session.execute(_TOLD, {"ids": list(later)}):
                self._told[incident_id].append((cause, person_id))

    def _divisions(self, callouts: Sequence[Callout]) -> set[str]:
        """Every division whose people may be asked for."""
        codes = {code for ranked in self._ranked.values() for code in whose.grids(ranked)}
        codes |= {callout.incident.grid_code or callout.incident.county_code for callout in callouts}
        codes |= {callout.incident.county_code for callout in callouts}
        codes |= {code for zones in self._zones.values() for code in zones}
        above = {
            self.region.above(code, level) for code in codes for level in ("village", "township", "county", "city")
        }
        return codes | {code for code in above if code is not None}

    def told(self, callout: Callout) -> set[int]:
        """Who need not be told again: those told for the same cause by another rung's call-out; and where nobody was
        reached, all who were told before, since the last hand-over."""
        everybody = is_unreached(callout)
        rows = self._told[callout.incident_id]
        return {person_id for cause, person_id in rows if everybody or cause == callout.cause}

    def tell(self, callout: Callout, made: list[NewNotice]) -> list[NewNotice]:
        """These are told, too: to be written."""
        self._told[callout.incident_id] += [(callout.cause, notice.person_id) for notice in made]
        self._made += made
        return made

    def journal(self, callout: Callout, event: Event, data: dict[str, Any]) -> None:
        """A line of the incident's journal, to be written."""
        self._lines.append(incidents.machine_line(callout.incident, event, data, self.now))
        self._moved[callout.incident_id] = callout.incident

    def write(self, done: Sequence[Callout] = ()) -> None:
        """Write what there is so far, and that these call-outs are done."""
        writes = bulk.Writes(self.session)
        writes.insert(JournalEntry, self._lines)
        writes.update(Incident, [incidents.projection(one) for one in self._moved.values()])
        notices.write(writes, self._made)
        notices.mark_expanded(writes, done, self.now)
        writes.run()
        if not self._made or any(notice.attempts == 0 for notice in self._made):
            wake.request(self.session)  # what is sent from here is recorded in a moment, and that wakes who watches
        self._made, self._lines, self._moved = [], [], {}

    def is_elsewhere(self, callout: Callout) -> bool:
        """Whether a place that became better known lies most probably in another grid than the incident's, and nobody
        has handed that over."""
        best = self._ranked[callout.incident_id][:1]
        if not best or best[0].code == callout.incident.grid_code:
            return False
        transfer = select(JournalEntry.id).where(
            JournalEntry.incident_id == callout.incident_id, JournalEntry.event == Event.TRANSFER.value
        )
        return self.session.scalar(transfer.limit(1)) is None

    def dispatch(self, callout: Callout) -> list[Call]:
        """The first call, or the first after a hand-over or when the place became better known: find the grid, journal
        it, tell the owners. Who leads from now on is told so, the others who does; who has accepted goes on leading."""
        incident, refined = callout.incident, is_refined(callout)
        ranked = whose.rank(self.region, incident) if incident.grid_code and not refined else self._ranked[incident.id]
        grids = whose.grids(ranked)
        if refined and incident.grid_code:
            grids = [*(code for code in grids if code != incident.grid_code), incident.grid_code]
        led = refined and incident.state not in _DISPATCHABLE
        calls: list[Call] = []
        for grid in grids[:-1] if led else grids:
            part = "neighbour" if calls or led else "lead"
            calls += [Call(person, part) for person in self._find(callout, grid)]
        if not grids:
            calls = self._unplaced(callout)
        for overlaid in (*whose.village(self.region, ranked), *self._zones[incident.id]):
            calls += [Call(person, "neighbour") for person in self._roster.on_duty(overlaid, "owner")]
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
            self.journal(callout, Event.DISPATCH, data)
        return calls

    def climb(self, callout: Callout) -> list[Call]:
        """A step of the ladder: the people of its rung for the grid, or the county's duty while there is no grid."""
        grid = callout.incident.grid_code
        if callout.rung == BESIDE:
            found = self._find(callout, grid or callout.incident.county_code)
            return [Call(person, "lead" if grid else "unplaced") for person in found]
        if grid is None:
            return self._unplaced(callout)
        return [Call(person, "lead") for person in self._find(callout, grid)]

    def _unplaced(self, callout: Callout) -> list[Call]:
        """While there is no grid: the duty of the camera's county, above it the city's."""
        division = callout.incident.county_code
        if callout.rung == "city" or is_unreached(callout):
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
            self.journal(callout, Event.UNREACHED, data)
        return found.people


def is_refined(callout: Callout) -> bool:
    """Whether further sightings moved the incident's place."""
    return callout.cause.startswith("refined:")


def is_unreached(callout: Callout) -> bool:
    """Whether it stands in for a call-out that reached nobody."""
    return callout.cause.startswith("unreached:")
