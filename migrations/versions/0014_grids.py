# SPDX-License-Identifier: AGPL-3.0-or-later
"""Grids below the villages"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A level more; no division has it yet."""
    _levels("city", "county", "township", "village", "grid", "zone")


def downgrade() -> None:
    """What lay in a grid lies in its village again. Who answered for grids alone keeps an area that is the village's."""
    op.execute("DELETE FROM duties WHERE division_code IN (SELECT code FROM divisions WHERE level = 'grid')")
    op.execute(
        "UPDATE incidents SET grid_code = (SELECT parent_code FROM divisions WHERE code = grid_code)"
        " WHERE grid_code IN (SELECT code FROM divisions WHERE level = 'grid')"
    )
    op.execute(
        "UPDATE people SET area_code = (SELECT parent_code FROM divisions WHERE code = area_code)"
        " WHERE area_code IN (SELECT code FROM divisions WHERE level = 'grid')"
    )
    op.execute("DELETE FROM divisions WHERE level = 'grid'")
    _levels("city", "county", "township", "village", "zone")


def _levels(*words: str) -> None:
    with op.batch_alter_table("divisions", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_divisions_level"), type_="check")
        batch_op.create_check_constraint(op.f("ck_divisions_level"), f"level IN ({', '.join(map(repr, words))})")
