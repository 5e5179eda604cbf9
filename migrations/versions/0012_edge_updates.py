# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signed updates for edge boxes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One line for each update, with the box's word on it."""
    op.create_table(
        "edge_updates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("edge_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('settings', 'masks', 'model')", name=op.f("ck_edge_updates_kind")),
        sa.ForeignKeyConstraint(["edge_id"], ["edge_boxes.id"], name=op.f("fk_edge_updates_edge_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_edge_updates_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edge_updates")),
        sa.UniqueConstraint("edge_id", "kind", "version", name=op.f("uq_edge_updates_edge_id_kind_version")),
    )


def downgrade() -> None:
    """What was sent stays in use on the boxes."""
    op.drop_table("edge_updates")
