# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is away, which days are holidays, and the daily look at whether everybody could be called."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, Date, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, one_of

DAY_KINDS = ["work", "rest"]


class Absence(Base):
    """A person is away for a time. In all their posts the substitute stands in; without one nobody does, and the posts
    count as empty."""

    __tablename__ = "absences"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="order"),
        CheckConstraint("substitute_id IS NULL OR substitute_id <> person_id", name="another"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    substitute_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]


class CalendarDay(Base):
    """A day that a county or the city declares a working day or a day of rest, whatever the country's calendar says."""

    __tablename__ = "calendar_days"
    __table_args__ = (CheckConstraint(one_of("kind", DAY_KINDS), name="kind"),)

    division_code: Mapped[str] = mapped_column(ForeignKey("divisions.code"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind: Mapped[str] = mapped_column(String(4))
    name: Mapped[str] = mapped_column(default="")


class Preflight(Base):
    """One look at every post: the gaps as they were found (``server.queries.preflight.Gap`` as plain data), with the
    channels that were set up (``server.queries.preflight.Channels``)."""

    __tablename__ = "preflights"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    channels: Mapped[dict[str, Any]]
    gaps: Mapped[list[Any]]


class CalibrationRecord(Base):
    """A camera's mount set right: the values ``before`` and ``after``, from which landmarks with which residuals
    (``points``), and when it was taken back."""

    __tablename__ = "calibrations"

    id: Mapped[int] = mapped_column(primary_key=True)
    camera_id: Mapped[str] = mapped_column(ForeignKey("cameras.id"), index=True)
    at: Mapped[datetime]
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))  # None: by the command line
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    points: Mapped[list[Any]]
    rms_px: Mapped[float]
    undone_at: Mapped[datetime | None]
