"""The beginnings of uploaded Parquet files, as workers have read them."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import UNANSWERED, Instant

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Add the beginnings of Parquet files."""
    op.create_table(
        "parquet_head",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("requested_at", Instant, nullable=False),
        sa.Column("n_claims", sa.Integer, nullable=False),
        sa.Column("claimed_until", Instant),
        sa.Column("ended_at", Instant),
        sa.Column("outcome", sa.Text),
    )
    op.create_index(
        "parquet_head_unanswered",
        "parquet_head",
        ["requested_at"],
        sqlite_where=UNANSWERED,
        postgresql_where=UNANSWERED,
    )
