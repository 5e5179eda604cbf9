# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is to be told, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    exists,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.domain.policy import CALLED
from server.models.base import Base, one_of
from server.models.incident import Incident
from server.models.region import Person

# skipped: it was not needed any more when its time came.
NOTICE_STATES = ["pending", "sent", "delivered", "failed", "skipped"]
# Call-outs that ask nobody for anything: the others are told that somebody accepted, or took that back. They are no
# part of the ladder: nobody stands in for who is not reached, and no line of the journal speaks of them.
INFORMING = frozenset({"taken", "released"})


class Callout(Base):
    """A rung of the ladder is to be told, written in the transaction of its cause. The dispatcher finds the people.

    ``cause`` is the ladder step's key ("dispatch" for the first), or "<what>:<seq>" of the journal's line that
    caused it (transfer, refined, taken, released); with the rung it makes the call-out unique: called once each.
    """

    __tablename__ = "callouts"
    __table_args__ = (
        CheckConstraint(one_of("rung", sorted(CALLED)), name="rung"),
        UniqueConstraint("incident_id", "cause", "rung"),
        Index(
            "ix_callouts_waiting",
            "created_at",
            sqlite_where=text("expanded_at IS NULL"),
            postgresql_where=text("expanded_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"))
    rung: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(16))  # dispatch, remind, escalate, breach, taken, released
    created_at: Mapped[datetime]
    expanded_at: Mapped[datetime | None]

    incident: Mapped[Incident] = relationship()


class Drill(Base):
    """A test of the way to people: marked notices to chosen ones along the real path."""

    __tablename__ = "drills"

    id: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    note: Mapped[str]  # who was meant


class Notice(Base):
    """One person is told one thing through one channel, for an incident's call-out, in a drill or of a camera's fault.
    The id is the idempotency key towards the channel."""

    __tablename__ = "notices"
    __table_args__ = (
        CheckConstraint(one_of("state", NOTICE_STATES), name="state"),
        CheckConstraint("(state IN ('pending', 'skipped')) = (sent_at IS NULL AND failed_at IS NULL)", name="times"),
        CheckConstraint(
            "(incident_id IS NULL) = (callout_id IS NULL) AND (CASE WHEN incident_id IS NULL THEN 0 ELSE 1 END"
            " + CASE WHEN drill_id IS NULL THEN 0 ELSE 1 END + CASE WHEN fault_id IS NULL THEN 0 ELSE 1 END) = 1",
            name="purpose",
        ),
        UniqueConstraint("callout_id", "person_id", "channel"),
        Index(
            "ix_notices_waiting",
            "next_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    callout_id: Mapped[int | None] = mapped_column(ForeignKey("callouts.id"))
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"), index=True)
    drill_id: Mapped[int | None] = mapped_column(ForeignKey("drills.id"), index=True)
    fault_id: Mapped[int | None] = mapped_column(ForeignKey("health_faults.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    channel: Mapped[str] = mapped_column(String(16))
    payload: Mapped[dict[str, Any]]  # what the channel renders; see docs/wire.md, Notice
    state: Mapped[str] = mapped_column(String(16), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]  # not before; while a sender holds it, the end of its lease
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    provider_ref: Mapped[str | None] = mapped_column(String(64), index=True)
    error: Mapped[str | None]

    callout: Mapped[Callout | None] = relationship()
    incident: Mapped[Incident | None] = relationship()
    person: Mapped[Person] = relationship(lazy="joined")


def called(person_id: int) -> ColumnElement[bool]:
    """The condition on ``Incident`` that a person was called for it and that it was not handed over since: who was
    called before that, or was only told that somebody accepted, has no say in it."""
    handed_over = (
        select(func.coalesce(func.max(Callout.id), 0))
        .where(Callout.incident_id == Incident.id, Callout.cause.startswith("transfer:"))
        .correlate(Incident)
        .scalar_subquery()
    )
    return exists().where(
        Notice.incident_id == Incident.id,
        Notice.person_id == person_id,
        Notice.callout_id == Callout.id,
        Callout.kind.not_in(INFORMING),
        Callout.id >= handed_over,
    )
