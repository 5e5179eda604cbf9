# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lines that follow one another"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_GENESIS = "0" * 64
# What the line before a new one must have for its hash.
_BEFORE = (
    f"CASE WHEN NEW.seq = 1 THEN '{_GENESIS}' ELSE"  # noqa: S608 - constants
    " (SELECT hash FROM journal WHERE incident_id = NEW.incident_id AND seq = NEW.seq - 1) END"
)


def upgrade() -> None:
    """The database itself refuses a line that does not follow the one before it."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER journal_chain BEFORE INSERT ON journal WHEN NEW.prev_hash IS NOT ({_BEFORE}) "
            "BEGIN SELECT RAISE(ABORT, 'journal: the line does not follow the one before it'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION journal_chain() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF NEW.prev_hash IS DISTINCT FROM ({_BEFORE}) THEN "
        "RAISE EXCEPTION 'journal: the line does not follow the one before it'; END IF; RETURN NEW; END $$"
    )
    op.execute("CREATE TRIGGER journal_chain BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION journal_chain()")


def downgrade() -> None:
    """Take it back."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER journal_chain")
    else:
        op.execute("DROP FUNCTION journal_chain() CASCADE")
