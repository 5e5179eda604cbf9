# SPDX-License-Identifier: AGPL-3.0-or-later
"""When each camera was truly looked at, and what made it blind."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base


class CoverageRun(Base):
    """A stretch of time in which one camera at one preset was in one state (docs/wire.md: ``ok`` is looked at and
    judged, all else is blind). Times are moved to the server's scale, right within
    ``clock_error_ms`` (None: unknown)."""

    __tablename__ = "coverage_runs"
    __table_args__ = (
        CheckConstraint("from_at <= to_at AND looks >= 0", name="ordered"),
        Index("ix_coverage_runs_camera_id_to_at", "camera_id", "to_at"),
    )

    report_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    camera_id: Mapped[str] = mapped_column(ForeignKey("cameras.id"))
    preset: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(24))
    from_at: Mapped[datetime]
    to_at: Mapped[datetime]
    looks: Mapped[int]
    clock_error_ms: Mapped[float | None]
    received_at: Mapped[datetime]
