# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cloud of places by which grids are ranked"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Incidents that are there keep their ellipse."""
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("cloud", sa.Text(), nullable=True))


def downgrade() -> None:
    """Grids are ranked by the ellipse again."""
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.drop_column("cloud")
