# SPDX-License-Identifier: AGPL-3.0-or-later
"""What makes the journal provable: contents that may be erased, and the Merkle log over the whole server."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base


class PrivateValue(Base):
    """A personal detail of a journal line (a note, a position). The line itself holds only a salted hash of it, so that
    the value can be erased by law while the chain stays whole. ``salt`` and ``value`` go together."""

    __tablename__ = "journal_private"
    __table_args__ = (CheckConstraint("(salt IS NULL) = (erased_at IS NOT NULL)", name="erased"),)

    journal_id: Mapped[int] = mapped_column(ForeignKey("journal.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(24), primary_key=True)
    salt: Mapped[str | None] = mapped_column(String(32))
    value: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    erased_at: Mapped[datetime | None]


class LogLeaf(Base):
    """A journal line's place in the server's Merkle log, given once and never changed."""

    __tablename__ = "log_leaves"

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 0
    journal_id: Mapped[int] = mapped_column(ForeignKey("journal.id"), unique=True)
    hash: Mapped[str] = mapped_column(String(64))  # the leaf's hash (RFC 6962), of the journal line's hash


class LogNode(Base):
    """The root of a full subtree of 256, 65,536, … leaves, so that a proof reads a few hundred rows and not all."""

    __tablename__ = "log_nodes"

    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 8, 16, 24
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[str] = mapped_column(String(64))


class Checkpoint(Base):
    """The log's root at a size, signed. ``note`` is the published text."""

    __tablename__ = "log_checkpoints"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    journal_floor: Mapped[int]  # every journal line up to this id is in the log or never came to be
    note: Mapped[str]
