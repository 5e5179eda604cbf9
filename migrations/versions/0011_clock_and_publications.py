# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record's own time, and where checkpoints are published"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The record's time begins at the database's clock."""
    clock = op.create_table(
        "server_clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ahead_s", sa.Double(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("set_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_server_clock_one")),
        sa.CheckConstraint("ahead_s >= 0", name=op.f("ck_server_clock_ahead")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_clock")),
    )
    op.bulk_insert(clock, [{"id": 1, "ahead_s": 0.0, "epoch": 0}])
    op.create_table(
        "publications",
        sa.Column("place", sa.String(length=200), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint("(failing_since IS NULL) = (error IS NULL)", name=op.f("ck_publications_failing")),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_publications")),
    )


def downgrade() -> None:
    """A record that was carried on goes back to the database's clock; publications begin anew."""
    op.drop_table("publications")
    op.drop_table("server_clock")
