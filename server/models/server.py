# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the server keeps of itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base


class ServerClock(Base):
    """One row: by how much the record's time runs ahead of the database's clock since that was set back (ADR 11).

    ``epoch`` counts the times at which the record went back to the database's clock, ``seen_at`` is a record's time
    that was certainly reached, ``set_back_at`` when the record last had to be carried on.
    """

    __tablename__ = "server_clock"
    __table_args__ = (CheckConstraint("id = 1", name="one"), CheckConstraint("ahead_s >= 0", name="ahead"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ahead_s: Mapped[float]
    epoch: Mapped[int]
    seen_at: Mapped[datetime | None]
    set_back_at: Mapped[datetime | None]


class Publication(Base):
    """A place outside to which checkpoints are sent: the newest it took, and since when it takes none."""

    __tablename__ = "publications"
    __table_args__ = (CheckConstraint("(failing_since IS NULL) = (error IS NULL)", name="failing"),)

    place: Mapped[str] = mapped_column(String(200), primary_key=True)
    size: Mapped[int]  # of the newest checkpoint that was taken; 0 before the first
    published_at: Mapped[datetime | None]
    attempts: Mapped[int]  # failed ones since then
    next_at: Mapped[datetime]  # not before; while a sender is at it, the end of its lease
    failing_since: Mapped[datetime | None]
    error: Mapped[str | None]
