"""Runs that confirm a study's winner under fresh seeds, and what they came to; no study of before asks for them."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import Instant

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the runs, whether a study wants them, and what they say of its winner."""
    op.create_table(
        "confirm_run",
        sa.Column("study_uuid", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("seed", sa.Integer, primary_key=True),
        sa.Column("value", sa.Float(53)),
        sa.Column("row_scores", sa.Text),
        sa.Column("failure", sa.JSON),
        sa.Column("ended_at", Instant, nullable=False),
    )
    op.add_column("study_spec", sa.Column("confirms", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("study_spec", sa.Column("confirmation", sa.Text))
