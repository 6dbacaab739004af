"""What keeps a call from looking at more than it is about."""

from alembic import op

from service.store.optuna.tables import UNFINISHED, UNFINISHED_INDEX

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # a new database has it already: the first migration makes Optuna's tables as they are now
    op.create_index(
        UNFINISHED_INDEX,
        "trials",
        ["study_id", "number"],
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
        if_not_exists=True,
    )
