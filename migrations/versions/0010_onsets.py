# SPDX-License-Identifier: AGPL-3.0-or-later
"""When smoke first showed, found by looking back"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_EVENTS = (
    *("accept", "appeal", "arrive", "breach", "close", "delivered", "dispatch", "escalate", "excuse", "mark_false"),
    *("open", "picture", "reject", "remind", "reopen", "report_done", "report_false", "review_real", "sent", "set_off"),
    *("sighting", "start_disposal", "transfer", "undo", "unreached", "verify"),
)
_FURTHER = ("clock_back", "onset")


def upgrade() -> None:
    """Onsets with their two pictures, and two further kinds of lines."""
    _allow("journal", "event", sorted(_EVENTS + _FURTHER))
    _allow("pictures", "kind", ["sighting", "clean", "first", "disposal"])
    op.create_table(
        "onsets",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("sighting_id", sa.String(length=36), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.Column("clean_sha256", sa.String(length=64), nullable=True),
        sa.Column("first_sha256", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["sighting_id"], ["sightings.id"], name=op.f("fk_onsets_sighting_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_onsets")),
    )
    op.create_index(op.f("ix_onsets_sighting_id"), "onsets", ["sighting_id"])


def _allow(table: str, column: str, words: list[str]) -> None:
    """Replace the CHECK that a column holds one of these words. SQLite makes the table anew, and its triggers go with
    the old one: they are put back as they were."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    found = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    triggers = op.get_bind().execute(found, {"table": table}).scalars().all() if sqlite else []
    name = op.f(f"ck_{table}_{column}")
    with op.batch_alter_table(table, schema=None) as batch_op:
        batch_op.drop_constraint(name, type_="check")
        batch_op.create_check_constraint(name, f"{column} IN ({', '.join(map(repr, words))})")
    for trigger in triggers:
        op.execute(trigger)


def downgrade() -> None:
    """The onsets are lost. Refused by the CHECK when the journal holds a line of a further kind: none is removed."""
    op.drop_index(op.f("ix_onsets_sighting_id"), table_name="onsets")
    op.drop_table("onsets")
    op.execute("DELETE FROM pictures WHERE kind IN ('clean', 'first')")
    _allow("pictures", "kind", ["sighting", "disposal"])
    _allow("journal", "event", sorted(_EVENTS))
