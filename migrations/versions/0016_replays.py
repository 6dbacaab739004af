"""Replays of trials, and what each attempt ran on; of attempts of before that is not known."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import UNANSWERED, Instant

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the replays, their seconds, and the kind of device and the versions of attempts."""
    op.create_table(
        "replay",
        sa.Column("study_uuid", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("first_attempt", sa.Integer, nullable=False),
        sa.Column("requested_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.Column("result", sa.JSON),
    )
    op.create_index(
        "replay_unanswered", "replay", ["requested_at"], sqlite_where=UNANSWERED, postgresql_where=UNANSWERED
    )
    op.add_column("attempt", sa.Column("device_kind", sa.String(8)))
    op.add_column("attempt", sa.Column("versions", sa.JSON))
    op.add_column("study_summary", sa.Column("replay_seconds", sa.Float(53), nullable=False, server_default="0"))
