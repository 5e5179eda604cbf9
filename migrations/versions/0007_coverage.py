# SPDX-License-Identifier: AGPL-3.0-or-later
"""When each camera was looked at, and why not"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs of coverage as the edge boxes report them."""
    op.create_table(
        "coverage_runs",
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("camera_id", sa.String(length=40), nullable=False),
        sa.Column("preset", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("clock_error_ms", sa.Double(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("from_at <= to_at AND looks >= 0", name=op.f("ck_coverage_runs_ordered")),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_coverage_runs_camera_id")),
        sa.PrimaryKeyConstraint("report_id", "number", name=op.f("pk_coverage_runs")),
    )
    op.create_index("ix_coverage_runs_camera_id_to_at", "coverage_runs", ["camera_id", "to_at"])


def downgrade() -> None:
    """What was reported is lost."""
    op.drop_index("ix_coverage_runs_camera_id_to_at", table_name="coverage_runs")
    op.drop_table("coverage_runs")
