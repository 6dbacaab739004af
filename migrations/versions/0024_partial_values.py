"""Evaluations that have read a part of the validation rows only."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add the column; all evaluations of before have read all rows."""
    op.add_column("measurement", sa.Column("partial", sa.Boolean(), nullable=False, server_default=sa.false()))
