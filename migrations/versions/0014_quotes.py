"""What each study will take, as it was quoted when it was prepared; studies of before have no quote."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import Instant

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the quotes, and find them by what they are of."""
    op.create_table(
        "quote",
        sa.Column("study_uuid", sa.String(32), primary_key=True),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("quote", sa.Text, nullable=False),
        sa.Column("quoted_at", Instant, nullable=False),
    )
    op.create_index("ix_quote_subject", "quote", ["subject"])
