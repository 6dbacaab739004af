"""Keys of launched workers, beside those that people made."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add to each key the worker that a launcher made it for, which no key so far has."""
    op.add_column("api_key", sa.Column("worker_id", sa.String(32)))
    op.create_index("ix_api_key_worker_id", "api_key", ["worker_id"])
