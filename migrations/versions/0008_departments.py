# SPDX-License-Identifier: AGPL-3.0-or-later
"""Departments beside the ladder"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_DEPARTMENTS = ("ecology", "agriculture", "fire", "enforcement")
# table -> (column, words before, further words now)
_WORDS = {
    "duties": ("post", ("owner", "deputy", "leader", "duty"), _DEPARTMENTS),
    "people": ("role", ("worker", "supervisor", "admin"), ("department",)),
    "callouts": ("rung", ("city", "county", "deputy", "owner", "township"), ("departments",)),
}


def upgrade() -> None:
    """A department's contact is a duty, held in a county or the city; its people see and change nothing."""
    for table, (column, before, further) in _WORDS.items():
        _allow(table, column, sorted(before + further) if table == "callouts" else [*before, *further])


def downgrade() -> None:
    """What was said to departments is lost, and their people can no longer log in."""
    op.execute("DELETE FROM notices WHERE callout_id IN (SELECT id FROM callouts WHERE rung = 'departments')")
    op.execute("DELETE FROM callouts WHERE rung = 'departments'")
    op.execute("DELETE FROM duties WHERE post NOT IN ('owner', 'deputy', 'leader', 'duty')")
    op.execute("UPDATE people SET role = 'worker', active = false WHERE role = 'department'")
    for table, (column, before, _) in _WORDS.items():
        _allow(table, column, before)


def _allow(table: str, column: str, words: list[str] | tuple[str, ...]) -> None:
    """Replace the CHECK that a column holds one of these words."""
    name = op.f(f"ck_{table}_{column}")
    with op.batch_alter_table(table, schema=None) as batch_op:
        batch_op.drop_constraint(name, type_="check")
        batch_op.create_check_constraint(name, f"{column} IN ({', '.join(map(repr, words))})")
