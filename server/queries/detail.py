# SPDX-License-Identifier: AGPL-3.0-or-later
"""Everything a screen shows of one incident: journal, notices and receipts, sightings, photographs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.clocks import Entry, last_move, standing
from server.domain.lifecycle import UNDOABLE, Event, State
from server.models import Callout, Camera, JournalEntry, Notice, Onset, Person, Picture, Sighting
from server.queries import incidents
from server.queries.incidents import Seen, Summary
from server.queries.viewer import Viewer


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the journal with its people by name. ``person`` is None for a part of the system, whose name is
    ``system``. ``about`` names the person a notice line speaks of, ``to_place`` where a transfer went, ``camera`` what
    saw it.
    ``due_at`` is the true due time of what the clock wrote. ``undone``: taken back later; ``undoes``: what it took
    back."""

    seq: int
    at: datetime
    event: Event
    from_state: State | None
    to_state: State
    person: str | None
    system: str | None
    about: str | None
    to_place: str | None
    camera: str | None
    due_at: datetime | None
    undone: bool
    undoes: Event | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """A notice to a person through a channel and what became of it; ``phone`` is masked."""

    person: str
    phone: str | None
    rung: str
    kind: str
    channel: str
    state: str
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    failed_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A sighting: which camera, when, how sure; ``picture`` is None until its bytes arrived."""

    id: str
    camera: str
    received_at: datetime
    late: bool
    confidence: float
    picture: Seen | None


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that an edge box had kept: when it was taken, moved to the server's scale; ``seen`` is None until its
    bytes arrived."""

    at: datetime
    seen: Seen | None


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """Where a camera's smoke began: the last frame without it (None when all that were kept had it) and the first
    with it; ``error_ms`` bounds both times (None: the clock was not measured). ``opening``: this one is the T0."""

    camera: str
    clean: Frame | None
    first: Frame
    error_ms: float | None
    frames: int
    opening: bool


@dataclass(frozen=True, slots=True)
class Photo:
    """A worker's photograph of the scene."""

    sha256: str
    stored_at: datetime
    person: str | None


@dataclass(frozen=True, slots=True)
class Detail:
    """One incident in full. ``told`` is empty for who answers in the field: it is the overseers' business.
    ``undo_until`` is set while the viewer's own last tap may be taken back."""

    summary: Summary
    journal: tuple[Line, ...]
    told: tuple[Told, ...]
    sightings: tuple[Glimpse, ...]
    onsets: tuple[FirstSeen, ...]
    photos: tuple[Photo, ...]
    accepted_by: str | None
    accepted_by_viewer: bool
    undo_until: datetime | None
    undo_event: Event | None


def detail(session: Session, viewer: Viewer, code: str, now: datetime) -> Detail | None:
    """One incident by its short code; None when it does not exist or the viewer may not see it."""
    summary = incidents.one(session, viewer, code, now)
    if summary is None:
        return None
    rows = session.scalars(
        select(JournalEntry).where(JournalEntry.incident_id == summary.id).order_by(JournalEntry.seq)
    )
    entries = [row.to_entry() for row in rows]
    told = _told(session, summary.id) if viewer.oversees else ()
    people = _people(session, entries)
    accept = next((entry for entry in reversed(standing(entries)) if entry.event is Event.ACCEPT), None)
    undo = _undo(entries, viewer, summary, now)
    return Detail(
        summary=summary,
        journal=_lines(session, entries, people),
        told=told,
        sightings=_sightings(session, summary.id),
        onsets=_onsets(session, summary.id, entries),
        photos=_photos(session, summary.id),
        accepted_by=people.get(_person_id(accept.actor) or 0) if accept else None,
        accepted_by_viewer=accept is not None and _person_id(accept.actor) == viewer.id,
        undo_until=undo[0] if undo else None,
        undo_event=undo[1] if undo else None,
    )


def mask(phone: str | None) -> str | None:
    """A number of which only the ends can be read: +86138****5678."""
    if phone is None or len(phone) < 9:
        return None if phone is None else "****"
    return f"{phone[:-8]}****{phone[-4:]}"


def _undo(entries: list[Entry], viewer: Viewer, summary: Summary, now: datetime) -> tuple[datetime, Event] | None:
    last = last_move(entries)
    if last is None or last.event not in UNDOABLE or last.actor != f"person:{viewer.id}":
        return None
    until = last.at + timedelta(seconds=summary.policy.undo_s)
    return (until, last.event) if now <= until else None


def _person_id(actor: str) -> int | None:
    kind, _, number = actor.partition(":")
    return int(number) if kind == "person" and number.isdigit() else None


def _people(session: Session, entries: Iterable[Entry]) -> dict[int, str]:
    ids = set()
    for entry in entries:
        ids.update({_person_id(entry.actor), entry.data.get("person")})
    ids.discard(None)
    return {row.id: row.name for row in session.execute(select(Person.id, Person.name).where(Person.id.in_(ids)))}


def _lines(session: Session, entries: list[Entry], people: Mapping[int, str]) -> tuple[Line, ...]:
    kept = {entry.seq for entry in standing(entries)}
    events = {entry.seq: entry.event for entry in entries}
    places = incidents.place_names(
        session, {str(entry.data["to"]) for entry in entries if entry.event is Event.TRANSFER and entry.data.get("to")}
    )
    seen_by = {str(entry.data["camera"]) for entry in entries if entry.data.get("camera")}
    rows = session.execute(select(Camera.id, Camera.name).where(Camera.id.in_(seen_by)))
    cameras = {row.id: row.name for row in rows}
    lines = []
    for entry in entries:
        number = _person_id(entry.actor)
        due = entry.data.get("due_at")
        lines.append(
            Line(
                seq=entry.seq,
                at=entry.at,
                event=entry.event,
                from_state=entry.from_state,
                to_state=entry.to_state,
                person=people.get(number, f"#{number}") if number else None,
                system=None if number else entry.actor.partition(":")[2],
                about=people.get(entry.data.get("person", 0)),
                to_place=places.get(str(entry.data.get("to"))),
                camera=cameras.get(str(entry.data.get("camera"))) or entry.data.get("camera"),
                due_at=datetime.fromisoformat(due) if due else None,
                undone=entry.seq not in kept,
                undoes=events.get(entry.data.get("undoes", 0)),
                data=entry.data,
            )
        )
    return tuple(lines)


def _told(session: Session, incident_id: int) -> tuple[Told, ...]:
    rows = session.execute(
        select(Notice, Callout)
        .join(Callout, Callout.id == Notice.callout_id)
        .where(Notice.incident_id == incident_id)
        .order_by(Notice.created_at, Notice.id)
    )
    return tuple(
        Told(
            person=notice.person.name,
            phone=mask(notice.person.phone),
            rung=callout.rung,
            kind=callout.kind,
            channel=notice.channel,
            state=notice.state,
            created_at=notice.created_at,
            sent_at=notice.sent_at,
            delivered_at=notice.delivered_at,
            failed_at=notice.failed_at,
            error=notice.error,
        )
        for notice, callout in rows
    )


def _sightings(session: Session, incident_id: int) -> tuple[Glimpse, ...]:
    rows = session.execute(
        select(Sighting, Picture.sha256)
        .outerjoin(Picture, Picture.sighting_id == Sighting.id)
        .where(Sighting.incident_id == incident_id)
        .order_by(Sighting.received_at, Sighting.id)
    )
    return tuple(
        Glimpse(
            id=sighting.id,
            camera=sighting.camera_id,
            received_at=sighting.received_at,
            late=sighting.late,
            confidence=sighting.confidence,
            picture=incidents.seen(sha256, sighting.message) if sha256 else None,
        )
        for sighting, sha256 in rows
    )


def onset_times(data: Mapping[str, Any]) -> tuple[datetime | None, datetime]:
    """When an onset's two frames were taken, from its line or its message's like: moved to the server's scale."""
    offset = timedelta(milliseconds=data.get("clock_offset_ms") or 0.0)
    earliest = data.get("t0_earliest")
    latest = datetime.fromisoformat(data["t0_latest"])
    return datetime.fromisoformat(earliest) + offset if earliest else None, latest + offset


def _onsets(session: Session, incident_id: int, entries: Iterable[Entry]) -> tuple[FirstSeen, ...]:
    """In the order of the journal, which is what counts; the pictures are those that have arrived."""
    lines = [entry.data for entry in entries if entry.event in (Event.OPEN, Event.ONSET)]
    told = [data for data in lines if "t0_latest" in data and "frames" in data]
    if not told:
        return ()
    stored = set(session.scalars(select(Picture.sha256).where(Picture.incident_id == incident_id)))
    messages = {
        row.sighting_id: row.message
        for row in session.scalars(select(Onset).join(Sighting).where(Sighting.incident_id == incident_id))
    }
    return tuple(_first_seen(data, messages.get(data["sighting"], {}), stored, lines[0]) for data in told)


def _first_seen(
    data: Mapping[str, Any], message: Mapping[str, Any], stored: Set[str], opening: Mapping[str, Any]
) -> FirstSeen:
    clean_at, first_at = onset_times(data)

    def frame(at: datetime, sha256: str | None) -> Frame:
        return Frame(at, incidents.seen(sha256, dict(message)) if sha256 in stored and sha256 else None)

    return FirstSeen(
        camera=data["camera"],
        clean=frame(clean_at, data["clean"]) if clean_at else None,
        first=frame(first_at, data["first"]),
        error_ms=data["clock_error_ms"],
        frames=data["frames"],
        opening=data["sighting"] == opening.get("sighting"),
    )


def _photos(session: Session, incident_id: int) -> tuple[Photo, ...]:
    rows = session.execute(
        select(Picture.sha256, Picture.stored_at, Person.name)
        .outerjoin(Person, Person.id == Picture.person_id)
        .where(Picture.incident_id == incident_id, Picture.kind == "disposal")
        .order_by(Picture.stored_at, Picture.id)
    )
    return tuple(Photo(sha256, stored_at, name) for sha256, stored_at, name in rows)
