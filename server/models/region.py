# SPDX-License-Identifier: AGPL-3.0-or-later
"""The region, the people who answer for it, and the cameras that watch it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.domain.policy import DEPARTMENTS
from server.models.base import Base, one_of

# A village may be divided into grids, which then answer for it. Zones overlay all that, and their owners are told, too.
LEVELS = ["city", "county", "township", "village", "grid", "zone"]
POSTS = ["owner", "deputy", "leader", "duty", *DEPARTMENTS]
# department: sees its area and what it was called for, and changes nothing.
ROLES = ["worker", "supervisor", "admin", "department"]


class Division(Base):
    """An administrative division or grid. Codes are the national statistics codes, so that the code of a village
    begins with the code of its township, and a grid's with its village's; ``prefix`` is that beginning (trailing zeros
    of city and county cut)."""

    __tablename__ = "divisions"
    __table_args__ = (CheckConstraint(one_of("level", LEVELS), name="level"),)

    code: Mapped[str] = mapped_column(String(16), primary_key=True)
    prefix: Mapped[str] = mapped_column(String(16), index=True)
    name: Mapped[str]
    level: Mapped[str] = mapped_column(String(16))
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("divisions.code"))
    # GeoJSON, WGS-84. Kilobytes that nobody wants with every person's area: loaded only when asked for.
    geometry: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    synthetic: Mapped[bool] = mapped_column(default=False)  # invented borders: never for real dispatch
    # The number of the import that last changed this row: whoever keeps an index reloads when the highest changes.
    revision: Mapped[int] = mapped_column(default=0, index=True)


class Person(Base):
    """Somebody who answers, supervises or operates. ``area_code`` bounds what they may see and do."""

    __tablename__ = "people"
    __table_args__ = (
        CheckConstraint(one_of("role", ROLES), name="role"),
        CheckConstraint(one_of("language", ["zh", "en"]), name="language"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(String(40), unique=True)  # also the person's name on the broker
    name: Mapped[str]
    phone: Mapped[str | None] = mapped_column(String(20))  # E.164
    language: Mapped[str] = mapped_column(String(2), default="zh")
    role: Mapped[str] = mapped_column(String(16))
    area_code: Mapped[str] = mapped_column(ForeignKey("divisions.code"))
    password_hash: Mapped[str | None]  # None: cannot log in yet
    active: Mapped[bool] = mapped_column(default=True)
    # Counts up whenever the password changes or the person is signed out everywhere.
    session_epoch: Mapped[int] = mapped_column(default=0)

    area: Mapped[Division] = relationship(lazy="joined")


class Duty(Base):
    """A person holds a post in a division, for a time or without end, on all days and hours or on some.

    ``days``: "work", "rest" (by the calendar) or ISO weekdays like "1,3,5"; ``hours``: "08:00-17:30" in the region's
    zone, past midnight when the end is before the beginning (the night belongs to the day on which it begins).
    """

    __tablename__ = "duties"
    __table_args__ = (
        CheckConstraint(one_of("post", POSTS), name="post"),
        CheckConstraint("ends_at IS NULL OR starts_at IS NULL OR ends_at > starts_at", name="order"),
        UniqueConstraint("division_code", "post", "person_id", "starts_at", "days", "hours"),
        Index("ix_duties_post", "division_code", "post"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    division_code: Mapped[str] = mapped_column(ForeignKey("divisions.code"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    post: Mapped[str] = mapped_column(String(16))
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    days: Mapped[str | None] = mapped_column(String(13))
    hours: Mapped[str | None] = mapped_column(String(11))

    person: Mapped[Person] = relationship(lazy="joined")
    division: Mapped[Division] = relationship()


class EdgeBox(Base):
    """A machine at a tower. Its id is its name on the broker."""

    __tablename__ = "edge_boxes"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str]
    online: Mapped[bool] = mapped_column(default=False)
    status: Mapped[dict[str, Any] | None]
    status_at: Mapped[datetime | None]


class Camera(Base):
    """A lookout camera: where it stands, how it looks, whose county it serves. Degrees and metres, WGS-84."""

    __tablename__ = "cameras"
    __table_args__ = (
        CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="position"),
        CheckConstraint("height_m > 0 AND hfov > 0 AND hfov < 180", name="optics"),
        CheckConstraint("height_error > 0 AND hfov_error > 0 AND hfov_factor > 0", name="mount"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    edge_id: Mapped[str] = mapped_column(ForeignKey("edge_boxes.id"), index=True)
    county_code: Mapped[str] = mapped_column(ForeignKey("divisions.code"))
    name: Mapped[str]
    lat: Mapped[float]
    lon: Mapped[float]
    height_m: Mapped[float]
    pan: Mapped[float]
    tilt: Mapped[float]
    hfov: Mapped[float]
    pan_error: Mapped[float] = mapped_column(default=0.5)
    tilt_error: Mapped[float] = mapped_column(default=0.2)
    height_error: Mapped[float] = mapped_column(default=3.0)
    hfov_error: Mapped[float] = mapped_column(default=0.02)  # a fraction of it
    # The lens above sea level. With it rays are cast on the terrain, without it on flat ground ``height_m`` below.
    altitude_m: Mapped[float | None]
    # What the mount gets wrong, by its calibration: true = stated + offset, true field of view = stated × factor.
    pan_offset: Mapped[float] = mapped_column(default=0.0)
    tilt_offset: Mapped[float] = mapped_column(default=0.0)
    roll: Mapped[float] = mapped_column(default=0.0)
    hfov_factor: Mapped[float] = mapped_column(default=1.0)
    calibrated_at: Mapped[datetime | None]
    # It turns: what it sees without saying whither has no direction. Rows of [zoom, field of view] read its zoom.
    ptz: Mapped[bool] = mapped_column(default=False)
    zoom_table: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))

    edge: Mapped[EdgeBox] = relationship(lazy="joined")
    county: Mapped[Division] = relationship()


# One standing owner per division; the database says so whatever the code does.
_STANDING = "post = 'owner' AND ends_at IS NULL AND starts_at IS NULL AND days IS NULL AND hours IS NULL"
Index(
    "uq_duties_one_owner",
    Duty.division_code,
    unique=True,
    sqlite_where=text(_STANDING),
    postgresql_where=text(_STANDING),
)
