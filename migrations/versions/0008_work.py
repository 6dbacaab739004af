"""What a spec says of when its study has work, beside it; and a name for each of its versions."""

import json
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

STUDIES = sa.table(
    "study_spec",
    sa.column("uuid", sa.String),
    sa.column("spec", sa.Text),
    sa.column("n_trials", sa.Integer),
    sa.column("n_parallel", sa.Integer),
    sa.column("version", sa.String),
)


def upgrade() -> None:
    """Add the columns, and fill them from the specs."""
    op.add_column("study_spec", sa.Column("n_trials", sa.Integer, nullable=False, server_default="0"))
    op.add_column("study_spec", sa.Column("n_parallel", sa.Integer))
    op.add_column("study_spec", sa.Column("version", sa.String(32), nullable=False, server_default=""))
    connection = op.get_bind()
    for study in connection.execute(sa.select(STUDIES.c.uuid, STUDIES.c.spec)).all():
        spec = json.loads(study.spec)
        change = sa.update(STUDIES).where(STUDIES.c.uuid == study.uuid)
        filled = change.values(n_trials=spec["n_trials"], n_parallel=spec.get("n_parallel"), version=uuid4().hex)
        connection.execute(filled)
