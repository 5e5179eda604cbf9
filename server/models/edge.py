# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is sent to edge boxes to run with."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, one_of

UPDATE_KINDS = ["settings", "masks", "model"]


class EdgeUpdate(Base):
    """A signed update for one box: ``body`` is exactly what was signed (docs/wire.md), its files lie in the data
    folder under their SHA-256. ``result`` is the box's word on it, None until it has given one."""

    __tablename__ = "edge_updates"
    __table_args__ = (
        UniqueConstraint("edge_id", "kind", "version"),
        CheckConstraint(one_of("kind", UPDATE_KINDS), name="kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    edge_id: Mapped[str] = mapped_column(ForeignKey("edge_boxes.id"))
    kind: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    body: Mapped[str] = mapped_column(Text)
    signature: Mapped[str] = mapped_column(String(128))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))  # who sent it; None: the operator
    created_at: Mapped[datetime]
    result: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    reported_at: Mapped[datetime | None]
