"""The identity of the database, for launchers whose workers live where those of others do."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the table of one row, which is made when somebody asks for it."""
    op.create_table(
        "database_identity",
        sa.Column("identity_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("uuid", sa.String(32), nullable=False),
    )
