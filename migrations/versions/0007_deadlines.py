"""The clock of a study: when its time is up, and the pauses that stop it."""

import json
from datetime import datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

INSTANT = sa.DateTime(timezone=True)
STUDIES = sa.table(
    "study_spec",
    sa.column("uuid", sa.String),
    sa.column("spec", sa.Text),
    sa.column("state", sa.String),
    sa.column("created_at", INSTANT),
    sa.column("deadline", INSTANT),
    sa.column("paused_at", INSTANT),
)
EVENTS = sa.table("event", sa.column("study_uuid", sa.String), sa.column("kind", sa.String), sa.column("at", INSTANT))


def upgrade() -> None:
    op.add_column("study_spec", sa.Column("deadline", INSTANT))
    op.add_column("study_spec", sa.Column("paused_at", INSTANT))
    op.add_column("study_spec", sa.Column("paused_seconds", sa.Float(53), nullable=False, server_default="0"))
    op.create_index("study_spec_deadline", "study_spec", ["state", "deadline"])
    connection = op.get_bind()
    for study in connection.execute(sa.select(STUDIES)).all():
        change = sa.update(STUDIES).where(STUDIES.c.uuid == study.uuid)
        connection.execute(change.values(deadline=_deadline(study.spec, study.created_at)))
    # a study that is paused now came to be so at its last change; of pauses before nothing is known
    last_change = sa.select(sa.func.max(EVENTS.c.at)).where(
        EVENTS.c.study_uuid == STUDIES.c.uuid, EVENTS.c.kind == "study"
    )
    paused = sa.update(STUDIES).where(STUDIES.c.state == "paused")
    connection.execute(paused.values(paused_at=last_change.scalar_subquery()))


def _deadline(spec: str, created_at: datetime) -> datetime | None:
    timeout = json.loads(spec).get("timeout_seconds")
    return None if timeout is None else created_at + timedelta(seconds=timeout)
