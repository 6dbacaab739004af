"""Tables of events, decisions, repeated requests and uploaded data sets; columns for the control of single trials."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INSTANT = sa.DateTime(timezone=True)
ID = sa.String(32)


def upgrade() -> None:
    """Add the tables and columns of this migration."""
    op.add_column("study_spec", sa.Column("posted_spec", sa.Text))
    op.add_column("lease", sa.Column("is_cancelled", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("lease", sa.Column("reserved_seconds", sa.Float(53)))
    op.create_table(
        "event",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("study_uuid", ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Index("event_study", "study_uuid", "sequence"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "decision",
        sa.Column("study_uuid", ID, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("pruner", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("threshold", sa.Float(53)),
        sa.Column("rank", sa.Integer),
        sa.Column("rung", sa.Integer),
        sa.Column("peers", sa.JSON, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
    )
    op.create_table("dropped_folder", sa.Column("lease_id", ID, primary_key=True))
    op.create_table(
        "idempotency_key",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("location", sa.String(1000)),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("answered_at", INSTANT, nullable=False, index=True),
    )
    op.create_table(
        "dataset",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("format", sa.String(8), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("uploaded_at", INSTANT, nullable=False),
    )
