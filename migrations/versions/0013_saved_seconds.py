"""What pruning, early stopping and the trunk cache have saved a study; of trials of before nothing was measured."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the sums to the summaries of studies."""
    for name in ("saved_by_pruning", "saved_by_early_stopping", "saved_by_trunk_cache"):
        op.add_column("study_summary", sa.Column(name, sa.Float(53)))
