# SPDX-License-Identifier: AGPL-3.0-or-later
"""An answer from a page or a program: read, checked, and given to the one function that changes incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.errors import Invalid, Missing
from server.domain.lifecycle import Event, State, after
from server.models import JournalEntry, Person
from server.queries.viewer import Viewer
from server.services import actors, incidents, pictures
from server.services.actors import SUPERVISOR_EVENTS, WORKER_EVENTS

_MAX_NOTE = 500
_MAX_PHOTOS = 4
_MAX_ID = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as in docs/wire.md. ``data`` is what the journal keeps of it."""

    id: str
    incident: str
    event: Event
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an answer: "done", or "duplicate" when its id was known; the state its line led to."""

    result: str
    incident: str
    state: State
    seq: int


def parse(fields: Mapping[str, Any]) -> Answer:
    """Read an answer from JSON or a form. Raises Invalid naming the field."""
    answer_id, code = str(fields.get("id") or ""), str(fields.get("incident") or "")
    if not answer_id or len(answer_id) > _MAX_ID:
        raise Invalid(f"id: 1 to {_MAX_ID} characters, minted once for this answer")
    if not code:
        raise Invalid("incident: the short code is missing")
    try:
        event = Event(str(fields.get("event")))
    except ValueError:
        raise Invalid(f"event: there is no {str(fields.get('event'))[:40]!r}") from None
    if event not in WORKER_EVENTS | SUPERVISOR_EVENTS:
        raise Invalid(f"event: {event.value!r} is not a person's answer")
    return Answer(answer_id, code, event, _data(fields))


def _data(fields: Mapping[str, Any]) -> dict[str, Any]:
    note = str(fields.get("note") or "").strip()
    if len(note) > _MAX_NOTE:
        raise Invalid(f"note: at most {_MAX_NOTE} characters")
    found: dict[str, Any] = {
        "phone_at": instant("at", fields.get("at")),
        "lat": degrees("lat", fields.get("lat"), 90),
        "lon": degrees("lon", fields.get("lon"), 180),
        "note": note or None,
        "reason": str(fields.get("reason") or "") or None,
        "to": str(fields.get("to") or "") or None,
        "answers": _line(fields.get("answers")),
        "upheld": _upheld(fields.get("upheld")),
    }
    if (found["lat"] is None) != (found["lon"] is None):
        raise Invalid("lat and lon: give both or neither")
    return {key: value for key, value in found.items() if value is not None}


def _line(value: Any) -> int | None:
    if value in (None, ""):
        return None
    if not str(value).isdecimal():
        raise Invalid("answers: the number of the appeal's line in the journal")
    return int(value)


def _upheld(value: Any) -> bool | None:
    if value in (None, ""):
        return None
    if value not in (True, False, "true", "false"):
        raise Invalid("upheld: true or false")
    return value in (True, "true")


def instant(name: str, value: Any) -> str | None:
    """An ISO 8601 time with its offset; None when empty. Raises Invalid."""
    if value in (None, ""):
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise Invalid(f"{name}: {str(value)[:40]!r} is not an ISO 8601 time") from None
    if found.tzinfo is None:
        raise Invalid(f"{name}: the offset from UTC is missing")
    return found.isoformat()


def degrees(name: str, value: Any, limit: float) -> float | None:
    """A number within ± the limit; None when empty. Raises Invalid."""
    if value in (None, ""):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise Invalid(f"{name}: {str(value)[:40]!r} is not a number") from None
    if not -limit <= found <= limit:
        raise Invalid(f"{name}: {found} lies outside ±{limit}")
    return found


def submit(
    session: Session, viewer: Viewer, answer: Answer, photos: Sequence[bytes], *, folder: Path, now: datetime
) -> Outcome:
    """Apply an answer with its photographs; the caller commits. The same id again gives the first result and changes
    nothing. Raises a DomainError when a rule refuses; for an incident of others, Missing."""
    incident = incidents.lock(session, answer.incident)
    person = session.get_one(Person, viewer.id)
    known = session.scalar(select(JournalEntry.actor).where(JournalEntry.answer_id == answer.id))
    # Who handed it over is not concerned any more, and may yet repeat that answer until it is confirmed.
    if known != actors.person(person).label and not actors.is_concerned(session, person, incident):
        raise Missing(f"there is no incident {answer.incident!r}")
    data: dict[str, Any] = {**answer.data, "via": "page"}
    if photos and known is None:
        if answer.event is not Event.REPORT_DONE:
            raise Invalid("photo: a photograph belongs to report_done")
        if len(photos) > _MAX_PHOTOS:
            raise Invalid(f"photo: at most {_MAX_PHOTOS} photographs")
        after(State(incident.state), answer.event)  # before a file is written that nobody will ever ask for
        data["pictures"] = [
            pictures.add_disposal_picture(session, incident, person, photo, folder=folder, now=now) for photo in photos
        ]
    entry = incidents.apply(
        session,
        incident.code,
        answer.event,
        actor=actors.person(person),
        now=now,
        data=data,
        answer_id=answer.id,
    )
    return Outcome("duplicate" if known is not None else "done", incident.code, State(entry.to_state), entry.seq)
