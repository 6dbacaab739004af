"""Columns and tables for trials that are resumed, pilots, and cards of models."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns of resumed attempts and of cards, and the table of pilots."""
    op.add_column("study_spec", sa.Column("has_card", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("attempt", sa.Column("resume_attempt", sa.Integer))
    op.add_column("attempt", sa.Column("resume_step", sa.Integer))
    op.create_table(
        "small_run",
        sa.Column("study_uuid", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("value", sa.Float(53)),
        sa.Column("metrics", sa.JSON),
        sa.Column("failure", sa.JSON),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
    )
