"""Checkpoints of paused trials that are sent through the service."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import Instant

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the checkpoints that are asked for."""
    op.create_table(
        "sent_checkpoint",
        sa.Column("lease_id", sa.String(32), primary_key=True),
        sa.Column("study_uuid", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.String(32), nullable=False, index=True),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("wanted_until", Instant, nullable=False),
        sa.Column("worth_seconds", sa.Float(53), nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("sha256", sa.String(64)),
    )
    op.create_index("sent_checkpoint_trial", "sent_checkpoint", ["study_uuid", "number"])
