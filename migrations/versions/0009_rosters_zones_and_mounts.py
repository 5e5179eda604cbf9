# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rosters by days and hours, absences, holidays, the daily preflight; management zones; cameras that turn"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_OWNERS = "post = 'owner' AND ends_at IS NULL AND starts_at IS NULL"
_STANDING = _OWNERS + " AND days IS NULL AND hours IS NULL"
_KEY = ["division_code", "post", "person_id", "starts_at"]


def upgrade() -> None:
    """New columns are empty: every duty stands on all days, no camera turns."""
    _levels("city", "county", "township", "village", "zone")
    op.drop_index("uq_duties_one_owner", table_name="duties")
    with op.batch_alter_table("duties", schema=None) as batch_op:
        batch_op.add_column(sa.Column("days", sa.String(length=13), nullable=True))
        batch_op.add_column(sa.Column("hours", sa.String(length=11), nullable=True))
        batch_op.drop_constraint(op.f("uq_duties_division_code_post_person_id_starts_at"), type_="unique")
        batch_op.create_unique_constraint(
            op.f("uq_duties_division_code_post_person_id_starts_at_days_hours"), [*_KEY, "days", "hours"]
        )
    _one_owner(_STANDING)
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ptz", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("zoom_table", sa.JSON(), nullable=True))
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        batch_op.alter_column("ptz", server_default=None)
    _rosters()
    _reports()


def _rosters() -> None:
    op.create_table(
        "absences",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("substitute_id", sa.Integer(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_absences_order")),
        sa.CheckConstraint("substitute_id IS NULL OR substitute_id <> person_id", name=op.f("ck_absences_another")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_absences_person_id")),
        sa.ForeignKeyConstraint(["substitute_id"], ["people.id"], name=op.f("fk_absences_substitute_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_absences")),
    )
    op.create_index("ix_absences_person_id", "absences", ["person_id"])
    op.create_table(
        "calendar_days",
        sa.Column("division_code", sa.String(length=16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('work', 'rest')", name=op.f("ck_calendar_days_kind")),
        sa.ForeignKeyConstraint(["division_code"], ["divisions.code"], name=op.f("fk_calendar_days_division_code")),
        sa.PrimaryKeyConstraint("division_code", "day", name=op.f("pk_calendar_days")),
    )


def _reports() -> None:
    op.create_table(
        "preflights",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("gaps", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preflights")),
    )
    op.create_index("ix_preflights_at", "preflights", ["at"])
    op.create_table(
        "calibrations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("camera_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.Column("rms_px", sa.Double(), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_calibrations_camera_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_calibrations_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
    )
    op.create_index("ix_calibrations_camera_id", "calibrations", ["camera_id"])


def downgrade() -> None:
    """Rosters become nothing: a duty of some hours must not become one of all."""
    for table in ("calibrations", "preflights", "calendar_days", "absences"):
        op.drop_table(table)
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        batch_op.drop_column("zoom_table")
        batch_op.drop_column("ptz")
    op.execute("DELETE FROM duties WHERE days IS NOT NULL OR hours IS NOT NULL")
    op.drop_index("uq_duties_one_owner", table_name="duties")
    with op.batch_alter_table("duties", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("uq_duties_division_code_post_person_id_starts_at_days_hours"), type_="unique")
        batch_op.create_unique_constraint(op.f("uq_duties_division_code_post_person_id_starts_at"), _KEY)
        batch_op.drop_column("hours")
        batch_op.drop_column("days")
    _one_owner(_OWNERS)
    op.execute("DELETE FROM duties WHERE division_code IN (SELECT code FROM divisions WHERE level = 'zone')")
    op.execute("DELETE FROM divisions WHERE level = 'zone'")
    _levels("city", "county", "township", "village")


def _levels(*words: str) -> None:
    with op.batch_alter_table("divisions", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_divisions_level"), type_="check")
        batch_op.create_check_constraint(op.f("ck_divisions_level"), f"level IN ({', '.join(map(repr, words))})")


def _one_owner(where: str) -> None:
    op.create_index(
        "uq_duties_one_owner",
        "duties",
        ["division_code"],
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
