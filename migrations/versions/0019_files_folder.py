"""By which file services know that they share one folder of uploaded files."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Add the table of the one folder."""
    op.create_table(
        "files_folder",
        sa.Column("folder_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("marker", sa.String(32), nullable=False),
        sa.Column("place", sa.Text, nullable=False),
    )
