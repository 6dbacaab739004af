"""What the finished trials of each study come to, so that a list of studies reads none of them."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.tables import STALE

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the summaries. Those of studies that are there already are stale: the service's rounds make them."""
    op.create_table(
        "study_summary",
        sa.Column("study_uuid", sa.String(32), primary_key=True),
        sa.Column("complete", sa.Integer, nullable=False),
        sa.Column("pruned", sa.Integer, nullable=False),
        sa.Column("fail", sa.Integer, nullable=False),
        sa.Column("failures", sa.JSON, nullable=False),
        sa.Column("leaders", sa.JSON, nullable=False),
        sa.Column("best_value", sa.Float(53)),
        sa.Column("generalization_gap", sa.Float(53)),
        sa.Column("small_runs", sa.JSON),
        sa.Column("device_seconds", sa.Float(53), nullable=False),
        sa.Column("is_stale", sa.Boolean, nullable=False),
    )
    op.create_index("study_summary_stale", "study_summary", ["study_uuid"], sqlite_where=STALE, postgresql_where=STALE)
    op.execute(
        """
        INSERT INTO study_summary (study_uuid, complete, pruned, fail, failures, leaders, device_seconds, is_stale)
        SELECT uuid, 0, 0, 0, '{}', '[]', coalesce((
            SELECT sum(attempt.device_seconds) FROM attempt WHERE attempt.study_uuid = study_spec.uuid
        ), 0), true FROM study_spec
        """
    )
