# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drills, and notices that need not go any more"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A notice belongs to an incident's call-out or to a drill; a delayed one may be skipped."""
    op.create_table(
        "drills",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drills")),
    )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("drill_id", sa.Integer(), nullable=True))
        batch_op.alter_column("callout_id", existing_type=sa.Integer(), nullable=True)
        batch_op.alter_column("incident_id", existing_type=sa.Integer(), nullable=True)
        batch_op.create_foreign_key(op.f("fk_notices_drill_id"), "drills", ["drill_id"], ["id"])
        batch_op.create_index("ix_notices_drill_id", ["drill_id"], unique=False)
        _replace_checks(
            batch_op,
            state="state IN ('pending', 'sent', 'delivered', 'failed', 'skipped')",
            times="(state IN ('pending', 'skipped')) = (sent_at IS NULL AND failed_at IS NULL)",
        )
        batch_op.create_check_constraint(
            op.f("ck_notices_purpose"),
            "(drill_id IS NULL) = (incident_id IS NOT NULL) AND (incident_id IS NULL) = (callout_id IS NULL)",
        )


def downgrade() -> None:
    """Drills and what was skipped are lost."""
    op.execute("DELETE FROM notices WHERE drill_id IS NOT NULL OR state = 'skipped'")
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_notices_purpose"), type_="check")
        batch_op.drop_index("ix_notices_drill_id")
        batch_op.drop_constraint(op.f("fk_notices_drill_id"), type_="foreignkey")
        batch_op.drop_column("drill_id")
        batch_op.alter_column("callout_id", existing_type=sa.Integer(), nullable=False)
        batch_op.alter_column("incident_id", existing_type=sa.Integer(), nullable=False)
        _replace_checks(
            batch_op,
            state="state IN ('pending', 'sent', 'delivered', 'failed')",
            times="(state = 'pending') = (sent_at IS NULL AND failed_at IS NULL)",
        )
    op.drop_table("drills")


def _replace_checks(batch_op: BatchOperations, **checks: str) -> None:
    for name, condition in checks.items():
        batch_op.drop_constraint(op.f(f"ck_notices_{name}"), type_="check")
        batch_op.create_check_constraint(op.f(f"ck_notices_{name}"), condition)
