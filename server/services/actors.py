# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who acts, and what they may do to which incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.errors import NotConcerned, NotPermitted
from server.domain.lifecycle import ANNOTATIONS, CLOCK_EVENTS, Event
from server.models import Incident, Person
from server.models.notice import called

WORKER_EVENTS = frozenset(
    {
        Event.ACCEPT,
        Event.SET_OFF,
        Event.ARRIVE,
        Event.START_DISPOSAL,
        Event.REPORT_DONE,
        Event.REPORT_FALSE,
        Event.TRANSFER,
        Event.APPEAL,
        Event.UNDO,
    }
)
SUPERVISOR_EVENTS = frozenset(
    {
        Event.REVIEW_REAL,
        Event.TRANSFER,
        Event.VERIFY,
        Event.REJECT,
        Event.CLOSE,
        Event.MARK_FALSE,
        Event.EXCUSE,
        Event.REOPEN,
        Event.APPEAL,  # deciding one
        Event.UNDO,
    }
)
SYSTEM_EVENTS = ANNOTATIONS | CLOCK_EVENTS | {Event.OPEN, Event.DISPATCH}
BY_ROLE: Mapping[str, frozenset[Event]] = {
    "worker": WORKER_EVENTS,
    "supervisor": SUPERVISOR_EVENTS,
    "admin": SUPERVISOR_EVENTS,
    "department": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, or a part of the system (``person`` None)."""

    label: str
    person: Person | None = None


def person(someone: Person) -> Actor:
    """The actor for a person; the journal carries the number and never the name."""
    return Actor(f"person:{someone.id}", someone)


def system(part: str) -> Actor:
    """The actor for a process."""
    return Actor(f"system:{part}")


def in_area(someone: Person, incident: Incident) -> bool:
    """Whether the incident lies in the area the person answers for or supervises."""
    code = incident.grid_code or incident.county_code
    return code.startswith(someone.area.prefix)


def is_concerned(session: Session, someone: Person, incident: Incident) -> bool:
    """In their area, or called for it (a neighbour near the border, a deputy) and not handed over since."""
    if in_area(someone, incident):
        return True
    return session.scalar(select(Incident.id).where(Incident.id == incident.id, called(someone.id))) is not None


def check(session: Session, actor: Actor, incident: Incident, event: Event) -> None:
    """Raise NotPermitted or NotConcerned unless the actor may apply the event to the incident."""
    if actor.person is None:
        if event not in SYSTEM_EVENTS:
            raise NotPermitted(f"{event.value!r} takes a person")
        return
    if not actor.person.active or event not in BY_ROLE[actor.person.role]:
        raise NotPermitted(f"the role {actor.person.role!r} does not include {event.value!r}")
    if not is_concerned(session, actor.person, incident):
        raise NotConcerned(f"incident {incident.code} is not yours to answer")
