"""Uploaded pretrained models, and who has uploaded them."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import Instant

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add the models."""
    op.create_table(
        "pretrained_model",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("uploaded_at", Instant, nullable=False),
    )
