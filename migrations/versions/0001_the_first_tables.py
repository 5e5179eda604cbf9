# SPDX-License-Identifier: AGPL-3.0-or-later
"""The first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first tables."""
    op.create_table(
        "divisions",
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("parent_code", sa.String(length=16), nullable=True),
        sa.Column("geometry", sa.JSON(), nullable=True),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.CheckConstraint("level IN ('city', 'county', 'township', 'village')", name=op.f("ck_divisions_level")),
        sa.ForeignKeyConstraint(["parent_code"], ["divisions.code"], name=op.f("fk_divisions_parent_code")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_divisions")),
    )
    with op.batch_alter_table("divisions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_divisions_prefix"), ["prefix"], unique=False)
        batch_op.create_index(batch_op.f("ix_divisions_revision"), ["revision"], unique=False)

    op.create_table(
        "edge_boxes",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("status", sa.JSON(), nullable=True),
        sa.Column("status_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edge_boxes")),
    )
    op.create_table(
        "cameras",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("edge_id", sa.String(length=40), nullable=False),
        sa.Column("county_code", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("height_m", sa.Double(), nullable=False),
        sa.Column("pan", sa.Double(), nullable=False),
        sa.Column("tilt", sa.Double(), nullable=False),
        sa.Column("hfov", sa.Double(), nullable=False),
        sa.Column("pan_error", sa.Double(), nullable=False),
        sa.Column("tilt_error", sa.Double(), nullable=False),
        sa.CheckConstraint("height_m > 0 AND hfov > 0 AND hfov < 180", name=op.f("ck_cameras_optics")),
        sa.CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name=op.f("ck_cameras_position")),
        sa.ForeignKeyConstraint(["county_code"], ["divisions.code"], name=op.f("fk_cameras_county_code")),
        sa.ForeignKeyConstraint(["edge_id"], ["edge_boxes.id"], name=op.f("fk_cameras_edge_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cameras")),
    )
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cameras_edge_id"), ["edge_id"], unique=False)

    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("login", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("phone", sa.String(length=20), nullable=True),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("area_code", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("session_epoch", sa.Integer(), nullable=False),
        sa.CheckConstraint("language IN ('zh', 'en')", name=op.f("ck_people_language")),
        sa.CheckConstraint("role IN ('worker', 'supervisor', 'admin')", name=op.f("ck_people_role")),
        sa.ForeignKeyConstraint(["area_code"], ["divisions.code"], name=op.f("fk_people_area_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("login", name=op.f("uq_people_login")),
    )
    op.create_table(
        "policies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("county_code", sa.String(length=16), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["county_code"], ["divisions.code"], name=op.f("fk_policies_county_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.UniqueConstraint("county_code", "version", name=op.f("uq_policies_county_code_version")),
    )
    op.create_table(
        "duties",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("division_code", sa.String(length=16), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("post", sa.String(length=16), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("post IN ('owner', 'deputy', 'leader', 'duty')", name=op.f("ck_duties_post")),
        sa.CheckConstraint("ends_at IS NULL OR starts_at IS NULL OR ends_at > starts_at", name=op.f("ck_duties_order")),
        sa.ForeignKeyConstraint(["division_code"], ["divisions.code"], name=op.f("fk_duties_division_code")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_duties_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_duties")),
        sa.UniqueConstraint(
            "division_code",
            "post",
            "person_id",
            "starts_at",
            name=op.f("uq_duties_division_code_post_person_id_starts_at"),
        ),
    )
    with op.batch_alter_table("duties", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_duties_person_id"), ["person_id"], unique=False)
        batch_op.create_index("ix_duties_post", ["division_code", "post"], unique=False)
        batch_op.create_index(
            "uq_duties_one_owner",
            ["division_code"],
            unique=True,
            sqlite_where=sa.text("post = 'owner' AND ends_at IS NULL AND starts_at IS NULL"),
            postgresql_where=sa.text("post = 'owner' AND ends_at IS NULL AND starts_at IS NULL"),
        )

    op.create_table(
        "incidents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("policy_id", sa.Integer(), nullable=False),
        sa.Column("camera_id", sa.String(length=40), nullable=True),
        sa.Column("county_code", sa.String(length=16), nullable=False),
        sa.Column("grid_code", sa.String(length=16), nullable=True),
        sa.Column("bearing", sa.Double(), nullable=True),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("range_m", sa.Double(), nullable=True),
        sa.Column("along_m", sa.Double(), nullable=True),
        sa.Column("across_m", sa.Double(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("reopens_id", sa.Integer(), nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("last_hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "state IN ('accepted', 'closed', 'dispatched', 'excused', 'false_alarm', 'in_hand', 'on_site', 'reported', 'reviewed', 'suspected', 'verified')",
            name=op.f("ck_incidents_state"),
        ),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name=op.f("ck_incidents_position")),
        sa.CheckConstraint("last_seq >= 0", name=op.f("ck_incidents_last_seq")),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_incidents_camera_id")),
        sa.ForeignKeyConstraint(["county_code"], ["divisions.code"], name=op.f("fk_incidents_county_code")),
        sa.ForeignKeyConstraint(["grid_code"], ["divisions.code"], name=op.f("fk_incidents_grid_code")),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_incidents_policy_id")),
        sa.ForeignKeyConstraint(["reopens_id"], ["incidents.id"], name=op.f("fk_incidents_reopens_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
        sa.UniqueConstraint("code", name=op.f("uq_incidents_code")),
    )
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.create_index("ix_incidents_county_opened", ["county_code", "opened_at"], unique=False)
        batch_op.create_index(
            "ix_incidents_open",
            ["camera_id"],
            unique=False,
            sqlite_where=sa.text(
                "state IN ('accepted', 'dispatched', 'in_hand', 'on_site', 'reported', 'reviewed', 'suspected', 'verified')"
            ),
            postgresql_where=sa.text(
                "state IN ('accepted', 'dispatched', 'in_hand', 'on_site', 'reported', 'reviewed', 'suspected', 'verified')"
            ),
        )
        batch_op.create_index(batch_op.f("ix_incidents_state"), ["state"], unique=False)

    op.create_table(
        "callouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("rung", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expanded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("rung IN ('city', 'county', 'deputy', 'owner', 'township')", name=op.f("ck_callouts_rung")),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_callouts_incident_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_callouts")),
        sa.UniqueConstraint("incident_id", "cause", "rung", name=op.f("uq_callouts_incident_id_cause_rung")),
    )
    with op.batch_alter_table("callouts", schema=None) as batch_op:
        batch_op.create_index(
            "ix_callouts_waiting",
            ["created_at"],
            unique=False,
            sqlite_where=sa.text("expanded_at IS NULL"),
            postgresql_where=sa.text("expanded_at IS NULL"),
        )

    op.create_table(
        "deadlines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=40), nullable=False),
        sa.Column("until", sa.String(length=16), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("fired_at IS NULL OR cancelled_at IS NULL", name=op.f("ck_deadlines_one_end")),
        sa.CheckConstraint("fired_at IS NULL OR fired_at > due_at", name=op.f("ck_deadlines_never_early")),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_deadlines_incident_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deadlines")),
    )
    with op.batch_alter_table("deadlines", schema=None) as batch_op:
        batch_op.create_index(
            "ix_deadlines_due",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("fired_at IS NULL AND cancelled_at IS NULL"),
            postgresql_where=sa.text("fired_at IS NULL AND cancelled_at IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_deadlines_incident_id"), ["incident_id"], unique=False)
        batch_op.create_index(
            "uq_deadlines_standing",
            ["incident_id", "step"],
            unique=True,
            sqlite_where=sa.text("cancelled_at IS NULL"),
            postgresql_where=sa.text("cancelled_at IS NULL"),
        )

    op.create_table(
        "journal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=24), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("from_state", sa.String(length=16), nullable=True),
        sa.Column("to_state", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("answer_id", sa.String(length=64), nullable=True),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "event IN ('accept', 'appeal', 'arrive', 'breach', 'close', 'delivered', 'dispatch', 'escalate', 'excuse', 'mark_false', 'open', 'picture', 'reject', 'remind', 'reopen', 'report_done', 'report_false', 'review_real', 'sent', 'set_off', 'sighting', 'start_disposal', 'transfer', 'undo', 'unreached', 'verify')",
            name=op.f("ck_journal_event"),
        ),
        sa.CheckConstraint(
            "to_state IN ('accepted', 'closed', 'dispatched', 'excused', 'false_alarm', 'in_hand', 'on_site', 'reported', 'reviewed', 'suspected', 'verified')",
            name=op.f("ck_journal_to_state"),
        ),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_journal_incident_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
        sa.UniqueConstraint("answer_id", name=op.f("uq_journal_answer_id")),
        sa.UniqueConstraint("incident_id", "seq", name=op.f("uq_journal_incident_id_seq")),
    )
    op.create_table(
        "sightings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("camera_id", sa.String(length=40), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.Column("picture_sha256", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name=op.f("fk_sightings_camera_id")),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_sightings_incident_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sightings")),
    )
    with op.batch_alter_table("sightings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sightings_incident_id"), ["incident_id"], unique=False)

    op.create_table(
        "notices",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("callout_id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_ref", sa.String(length=64), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(state = 'pending') = (sent_at IS NULL AND failed_at IS NULL)", name=op.f("ck_notices_times")
        ),
        sa.CheckConstraint("state IN ('pending', 'sent', 'delivered', 'failed')", name=op.f("ck_notices_state")),
        sa.ForeignKeyConstraint(["callout_id"], ["callouts.id"], name=op.f("fk_notices_callout_id")),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_notices_incident_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_notices_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("callout_id", "person_id", "channel", name=op.f("uq_notices_callout_id_person_id_channel")),
    )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notices_incident_id"), ["incident_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_notices_person_id"), ["person_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_notices_provider_ref"), ["provider_ref"], unique=False)
        batch_op.create_index(
            "ix_notices_waiting",
            ["next_at"],
            unique=False,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )

    op.create_table(
        "pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("sighting_id", sa.String(length=36), nullable=True),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('sighting', 'disposal')", name=op.f("ck_pictures_kind")),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_pictures_incident_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_pictures_person_id")),
        sa.ForeignKeyConstraint(["sighting_id"], ["sightings.id"], name=op.f("fk_pictures_sighting_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pictures")),
        sa.UniqueConstraint("incident_id", "sha256", "kind", name=op.f("uq_pictures_incident_id_sha256_kind")),
    )
    with op.batch_alter_table("pictures", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pictures_sha256"), ["sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_pictures_sighting_id"), ["sighting_id"], unique=False)

    _make_append_only("journal")


def _make_append_only(table: str) -> None:
    """The database itself refuses to change or remove a line of the record."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )


def downgrade() -> None:
    """Take it back."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION journal_append_only() CASCADE")
    with op.batch_alter_table("pictures", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pictures_sighting_id"))
        batch_op.drop_index(batch_op.f("ix_pictures_sha256"))

    op.drop_table("pictures")
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_notices_waiting",
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )
        batch_op.drop_index(batch_op.f("ix_notices_provider_ref"))
        batch_op.drop_index(batch_op.f("ix_notices_person_id"))
        batch_op.drop_index(batch_op.f("ix_notices_incident_id"))

    op.drop_table("notices")
    with op.batch_alter_table("sightings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sightings_incident_id"))

    op.drop_table("sightings")
    op.drop_table("journal")
    with op.batch_alter_table("deadlines", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_deadlines_standing",
            sqlite_where=sa.text("cancelled_at IS NULL"),
            postgresql_where=sa.text("cancelled_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_deadlines_incident_id"))
        batch_op.drop_index(
            "ix_deadlines_due",
            sqlite_where=sa.text("fired_at IS NULL AND cancelled_at IS NULL"),
            postgresql_where=sa.text("fired_at IS NULL AND cancelled_at IS NULL"),
        )

    op.drop_table("deadlines")
    with op.batch_alter_table("callouts", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_callouts_waiting",
            sqlite_where=sa.text("expanded_at IS NULL"),
            postgresql_where=sa.text("expanded_at IS NULL"),
        )

    op.drop_table("callouts")
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incidents_state"))
        batch_op.drop_index(
            "ix_incidents_open",
            sqlite_where=sa.text(
                "state IN ('accepted', 'dispatched', 'in_hand', 'on_site', 'reported', 'reviewed', 'suspected', 'verified')"
            ),
            postgresql_where=sa.text(
                "state IN ('accepted', 'dispatched', 'in_hand', 'on_site', 'reported', 'reviewed', 'suspected', 'verified')"
            ),
        )
        batch_op.drop_index("ix_incidents_county_opened")

    op.drop_table("incidents")
    with op.batch_alter_table("duties", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_duties_one_owner",
            sqlite_where=sa.text("post = 'owner' AND ends_at IS NULL AND starts_at IS NULL"),
            postgresql_where=sa.text("post = 'owner' AND ends_at IS NULL AND starts_at IS NULL"),
        )
        batch_op.drop_index("ix_duties_post")
        batch_op.drop_index(batch_op.f("ix_duties_person_id"))

    op.drop_table("duties")
    op.drop_table("policies")
    op.drop_table("people")
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cameras_edge_id"))

    op.drop_table("cameras")
    op.drop_table("edge_boxes")
    with op.batch_alter_table("divisions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_divisions_revision"))
        batch_op.drop_index(batch_op.f("ix_divisions_prefix"))

    op.drop_table("divisions")
