"""Sessions of people who have signed in to the pages with an API key."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import Instant

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the sessions."""
    op.create_table(
        "web_session",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("key_id", sa.String(12), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False, index=True),
    )
