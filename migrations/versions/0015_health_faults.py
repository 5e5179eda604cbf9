# SPDX-License-Identifier: AGPL-3.0-or-later
"""Faults of cameras and boxes, and notices of them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None yet; a notice belongs to an incident's call-out, a drill or a fault."""
    op.create_table(
        "health_faults",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("edge_id", sa.String(40), nullable=False),
        sa.Column("camera_id", sa.String(40), nullable=True),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("well_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["edge_id"], ["edge_boxes.id"], name=op.f("fk_health_faults_edge_id")),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_health_faults_camera_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_faults")),
    )
    for name, column, whose in (("camera", "camera_id", "IS NOT NULL"), ("box", "edge_id", "IS NULL")):
        where = sa.text(f"closed_at IS NULL AND camera_id {whose}")
        op.create_index(
            f"uq_health_faults_open_{name}",
            "health_faults",
            [column],
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("fault_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(op.f("fk_notices_fault_id"), "health_faults", ["fault_id"], ["id"])
        batch_op.create_index("ix_notices_fault_id", ["fault_id"], unique=False)
        batch_op.drop_constraint(op.f("ck_notices_purpose"), type_="check")
        batch_op.create_check_constraint(
            op.f("ck_notices_purpose"),
            "(incident_id IS NULL) = (callout_id IS NULL) AND (CASE WHEN incident_id IS NULL THEN 0 ELSE 1 END"
            " + CASE WHEN drill_id IS NULL THEN 0 ELSE 1 END + CASE WHEN fault_id IS NULL THEN 0 ELSE 1 END) = 1",
        )


def downgrade() -> None:
    """What was told of faults is lost."""
    op.execute("DELETE FROM notices WHERE fault_id IS NOT NULL")
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_notices_purpose"), type_="check")
        batch_op.create_check_constraint(
            op.f("ck_notices_purpose"),
            "(drill_id IS NULL) = (incident_id IS NOT NULL) AND (incident_id IS NULL) = (callout_id IS NULL)",
        )
        batch_op.drop_index("ix_notices_fault_id")
        batch_op.drop_constraint(op.f("fk_notices_fault_id"), type_="foreignkey")
        batch_op.drop_column("fault_id")
    op.drop_table("health_faults")
