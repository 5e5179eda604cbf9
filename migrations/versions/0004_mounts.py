# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a camera's lens is and what its mount gets wrong"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Of the cameras that are there already; new ones are given theirs by the record.
_PRESENT = {
    "height_error": "3.0",
    "hfov_error": "0.02",
    "pan_offset": "0.0",
    "tilt_offset": "0.0",
    "roll": "0.0",
    "hfov_factor": "1.0",
}


def upgrade() -> None:
    """Cameras get an altitude, offsets, a roll, and the errors of their height and field of view."""
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        for name, value in _PRESENT.items():
            batch_op.add_column(sa.Column(name, sa.Double(), nullable=False, server_default=value))
        batch_op.add_column(sa.Column("altitude_m", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("calibrated_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        for name in _PRESENT:
            batch_op.alter_column(name, existing_type=sa.Double(), server_default=None)
        batch_op.create_check_constraint(
            op.f("ck_cameras_mount"), "height_error > 0 AND hfov_error > 0 AND hfov_factor > 0"
        )


def downgrade() -> None:
    """Calibrations are lost."""
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_cameras_mount"), type_="check")
        for name in (*_PRESENT, "altitude_m", "calibrated_at"):
            batch_op.drop_column(name)
