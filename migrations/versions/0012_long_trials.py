"""What keeps a report from looking at all earlier evaluations of its trial for one that ended it."""

from alembic import op

from service.store.sql.tables import PRUNING

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Index the evaluations that ended a trial early."""
    key = ["study_uuid", "number", "attempt"]
    op.create_index("measurement_pruning", "measurement", key, sqlite_where=PRUNING, postgresql_where=PRUNING)
