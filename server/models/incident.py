# SPDX-License-Identifier: AGPL-3.0-or-later
"""Incidents, what was seen of them, their journal and their deadlines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship

from server.domain.clocks import Entry
from server.domain.lifecycle import OPEN_STATES, Event, State
from server.models.base import Base, one_of
from server.models.evidence import PrivateValue
from server.models.region import Camera, Division, Person

_STATES = one_of("state", sorted(State))
# Where a line's data keeps the hashes of its personal details.
SEALED = "sealed"
_OPEN = one_of("state", sorted(OPEN_STATES))


class PolicyVersion(Base):
    """One version of a county's policy (``county_code`` None: the city's default). Never changed, only followed."""

    __tablename__ = "policies"
    __table_args__ = (UniqueConstraint("county_code", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    county_code: Mapped[str | None] = mapped_column(ForeignKey("divisions.code"))
    version: Mapped[int]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Incident(Base):
    """One fire, or what was taken for one. ``state`` and the place are a projection of the journal,
    written only by ``server.services.incidents``."""

    __tablename__ = "incidents"
    __table_args__ = (
        CheckConstraint(_STATES, name="state"),
        CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="position"),
        CheckConstraint("last_seq >= 0", name="last_seq"),
        Index("ix_incidents_open", "camera_id", sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
        Index("ix_incidents_county_opened", "county_code", "opened_at"),
        Index("ix_incidents_ended", "ended_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(8), unique=True)  # short, to be typed or read out
    state: Mapped[str] = mapped_column(String(16), index=True)
    opened_at: Mapped[datetime]  # T2
    ended_at: Mapped[datetime | None]  # when it came to a final state
    policy_id: Mapped[int] = mapped_column(ForeignKey("policies.id"))
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("cameras.id"))
    county_code: Mapped[str] = mapped_column(ForeignKey("divisions.code"))
    grid_code: Mapped[str | None] = mapped_column(ForeignKey("divisions.code"))  # None until placed
    bearing: Mapped[float | None]
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    range_m: Mapped[float | None]
    along_m: Mapped[float | None]
    across_m: Mapped[float | None]
    # Equally probable places around it, metres "east,north east,north …"; grids are ranked by them.
    cloud: Mapped[str | None] = mapped_column(Text)
    confidence: Mapped[float | None]
    reopens_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"))
    last_seq: Mapped[int]
    last_hash: Mapped[str] = mapped_column(String(64))
    last_at: Mapped[datetime | None]  # the time of the journal's last line: none may stand before it

    camera: Mapped[Camera | None] = relationship()
    county: Mapped[Division] = relationship(foreign_keys=[county_code])
    grid: Mapped[Division | None] = relationship(foreign_keys=[grid_code])
    policy: Mapped[PolicyVersion] = relationship(lazy="joined")
    journal: Mapped[list[JournalEntry]] = relationship(
        back_populates="incident", order_by="JournalEntry.seq", viewonly=True
    )
    sightings: Mapped[list[Sighting]] = relationship(order_by="Sighting.received_at", viewonly=True)
    # The digest of its first picture, which may still be on its way; known where ``incidents.lock_all`` asked for it.
    first_picture: Mapped[str | None] = query_expression()


class JournalEntry(Base):
    """One line of an incident's append-only journal; triggers refuse UPDATE and DELETE.

    ``actor`` names a person as ``person:<id>`` (never by name, so that names can be erased by law without touching the
    record) or a process as ``system:<part>``. ``data`` holds of personal details only salted hashes, under SEALED; the
    details themselves lie in ``private``. ``hash`` covers the line and the hash before it.
    """

    __tablename__ = "journal"
    __table_args__ = (
        UniqueConstraint("incident_id", "seq"),
        CheckConstraint(one_of("event", sorted(Event)), name="event"),
        CheckConstraint(one_of("to_state", sorted(State)), name="to_state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"))
    seq: Mapped[int]
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(24))
    actor: Mapped[str] = mapped_column(String(64))
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    answer_id: Mapped[str | None] = mapped_column(String(64), unique=True)  # the idempotency key of an answer
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))

    incident: Mapped[Incident] = relationship(back_populates="journal")
    private: Mapped[list[PrivateValue]] = relationship(lazy="selectin", order_by=PrivateValue.name)

    def readable(self) -> dict[str, Any]:
        """``data`` with the personal details that have not been erased in their places; ``erased`` names the others."""
        sealed = self.data.get(SEALED)
        if not sealed:
            return self.data
        kept = {one.name: one.value for one in self.private if one.erased_at is None}
        data = {name: value for name, value in self.data.items() if name != SEALED} | kept
        gone = sorted(set(sealed) - set(kept))
        return data | {"erased": gone} if gone else data

    def to_entry(self) -> Entry:
        """The domain's view of this line."""
        return Entry(
            seq=self.seq,
            at=self.at,
            event=Event(self.event),
            from_state=State(self.from_state) if self.from_state else None,
            to_state=State(self.to_state),
            actor=self.actor,
            data=self.readable(),
        )


class Sighting(Base):
    """Smoke confirmed by an edge box. The id was minted once on the box."""

    __tablename__ = "sightings"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    camera_id: Mapped[str] = mapped_column(ForeignKey("cameras.id"))
    received_at: Mapped[datetime]
    late: Mapped[bool]  # arrived long after it was confirmed
    confidence: Mapped[float]
    message: Mapped[dict[str, Any]]  # as received, see docs/wire.md
    picture_sha256: Mapped[str | None] = mapped_column(String(64))  # announced; stored once it arrived

    camera: Mapped[Camera] = relationship()


class Onset(Base):
    """When a sighting's smoke first showed, found by the edge box in the frames it had kept: after the last frame
    without it and by the first with it, each with its picture. The id was minted once on the box."""

    __tablename__ = "onsets"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    sighting_id: Mapped[str] = mapped_column(ForeignKey("sightings.id"), index=True)
    received_at: Mapped[datetime]
    message: Mapped[dict[str, Any]]  # as received, see docs/wire.md
    clean_sha256: Mapped[str | None] = mapped_column(String(64))  # announced; stored once it arrived
    first_sha256: Mapped[str | None] = mapped_column(String(64))

    sighting: Mapped[Sighting] = relationship()


class Picture(Base):
    """A picture kept as evidence. The bytes lie in the evidence folder under their SHA-256. ``clean`` and ``first`` are
    an onset's two."""

    __tablename__ = "pictures"
    __table_args__ = (
        CheckConstraint(one_of("kind", ["sighting", "clean", "first", "disposal"]), name="kind"),
        UniqueConstraint("incident_id", "sha256", "kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"))
    sighting_id: Mapped[str | None] = mapped_column(ForeignKey("sightings.id"), index=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    kind: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    bytes: Mapped[int]
    stored_at: Mapped[datetime]

    person: Mapped[Person | None] = relationship()


class Deadline(Base):
    """A step of the ladder waiting for its time. It fires once or is cancelled, never both."""

    __tablename__ = "deadlines"
    __table_args__ = (
        CheckConstraint("fired_at IS NULL OR cancelled_at IS NULL", name="one_end"),
        CheckConstraint("fired_at IS NULL OR fired_at > due_at", name="never_early"),
        Index(
            "uq_deadlines_standing",
            "incident_id",
            "step",
            unique=True,
            sqlite_where=text("cancelled_at IS NULL"),
            postgresql_where=text("cancelled_at IS NULL"),
        ),
        Index(
            "ix_deadlines_due",
            "due_at",
            sqlite_where=text("fired_at IS NULL AND cancelled_at IS NULL"),
            postgresql_where=text("fired_at IS NULL AND cancelled_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    step: Mapped[str] = mapped_column(String(40))
    until: Mapped[str] = mapped_column(String(16))
    due_at: Mapped[datetime]
    fired_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
