# SPDX-License-Identifier: AGPL-3.0-or-later
"""What keeps cameras from being watched, from its beginning until it is well again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models.base import Base
from server.models.region import Camera, EdgeBox


class HealthFault(Base):
    """A camera that is blind, or with no ``camera_id`` its whole box, of which nothing is heard. ``state`` is the
    wire's word for the newest cause, "offline" for a box. It is over at ``closed_at``, which is a while after
    ``well_at`` unless it comes back; ``told_at``: when the county's duty was told."""

    __tablename__ = "health_faults"
    __table_args__ = (
        Index(
            "uq_health_faults_open_camera",
            "camera_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL AND camera_id IS NOT NULL"),
            postgresql_where=text("closed_at IS NULL AND camera_id IS NOT NULL"),
        ),
        Index(
            "uq_health_faults_open_box",
            "edge_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL AND camera_id IS NULL"),
            postgresql_where=text("closed_at IS NULL AND camera_id IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    edge_id: Mapped[str] = mapped_column(ForeignKey("edge_boxes.id"))
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("cameras.id"))
    state: Mapped[str] = mapped_column(String(24))
    since: Mapped[datetime]
    told_at: Mapped[datetime | None]
    well_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]

    edge: Mapped[EdgeBox] = relationship()
    camera: Mapped[Camera | None] = relationship()
