"""Optuna's published schema, created where absent, and our tables beside it."""

import sqlalchemy as sa
from alembic import op

from service.store.optuna import tables as optuna_tables

revision = "0001"
down_revision = None

INSTANT = sa.DateTime(timezone=True)
ID = sa.String(32)


def upgrade() -> None:
    """Make Optuna's tables and ours."""
    adopt_optuna_schema(op.get_bind())
    create_our_tables()


def adopt_optuna_schema(connection: sa.Connection) -> None:
    """Create or take over Optuna's tables, and stamp them with their version for stock tools.

    Raises:
        ValueError: The database holds another schema of Optuna's, a table of its names of another program, or gives a
            number to two trials of a study.
    """
    _refuse_other_tables(connection)
    _refuse_other_schema(connection)
    _refuse_duplicate_numbers(connection)
    optuna_tables.metadata.create_all(connection)
    indexes = {index["name"] for index in sa.inspect(connection).get_indexes("trials")}
    if optuna_tables.NUMBER_INDEX not in indexes:
        op.create_index(optuna_tables.NUMBER_INDEX, "trials", ["study_id", "number"], unique=True)
    for table, row in (
        (optuna_tables.alembic_version, {"version_num": optuna_tables.SCHEMA_REVISION}),
        (
            optuna_tables.version_info,
            {
                "version_info_id": 1,
                "schema_version": optuna_tables.SCHEMA_VERSION,
                "library_version": "5.0.0",
            },
        ),
    ):
        if connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0:
            connection.execute(sa.insert(table), row)


def create_our_tables() -> None:
    """Make the tables of the first version that are not Optuna's."""
    op.create_table(
        "study_spec",
        sa.Column("uuid", ID, primary_key=True),
        sa.Column("study_id", sa.Integer, nullable=False, unique=True),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ending", sa.String(16)),
        sa.Column("failure", sa.JSON),
        sa.Column("facts", sa.JSON),
        sa.Column("test_metrics", sa.JSON),
        sa.Column("is_scored", sa.Boolean, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Index("study_spec_state", "state"),
    )
    op.create_table(
        "lease",
        sa.Column("lease_id", ID, primary_key=True),
        sa.Column("token", ID, nullable=False, unique=True),
        sa.Column("study_uuid", ID, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker_id", ID, nullable=False, index=True),
        sa.Column("expires_at", INSTANT, nullable=False, index=True),
        sa.UniqueConstraint("study_uuid", "kind", "number"),
    )
    op.create_table(
        "attempt",
        sa.Column("lease_id", ID, primary_key=True),
        sa.Column("study_uuid", ID, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker_id", ID, nullable=False),
        sa.Column("device", sa.String(256), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("end", sa.String(32)),
        sa.Column("is_counted", sa.Boolean, nullable=False),
        sa.Column("device_seconds", sa.Float(53), nullable=False),
        sa.Column("token", ID),
        sa.Column("outcome", sa.Text),
        sa.UniqueConstraint("study_uuid", "kind", "number", "attempt"),
    )
    op.create_table(
        "measurement",
        sa.Column("study_uuid", ID, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Float(53), nullable=False),
        sa.Column("optimizer_steps", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("is_final", sa.Boolean, nullable=False),
        sa.Column("should_prune", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("keep_model", sa.Boolean, nullable=False),
        sa.Column("reported_at", INSTANT, nullable=False),
    )
    op.create_table(
        "artifact",
        sa.Column("lease_id", ID, primary_key=True),
        sa.Column("file", sa.String(100), primary_key=True),
        sa.Column("study_uuid", ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("is_visible", sa.Boolean, nullable=False),
        sa.Index("artifact_trial", "study_uuid", "number"),
    )
    op.create_table(
        "trial_log",
        sa.Column("log_id", sa.Integer, primary_key=True),
        sa.Column("study_uuid", ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Index("trial_log_trial", "study_uuid", "number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "worker",
        sa.Column("worker_id", ID, primary_key=True),
        sa.Column("launcher", sa.String(1024), index=True),
        sa.Column("host", sa.String(1000)),
        sa.Column("device", sa.JSON),
        sa.Column("versions", sa.JSON),
        sa.Column("registered_at", INSTANT),
        sa.Column("last_seen_at", INSTANT),
    )
    op.create_table(
        "service_beat",
        sa.Column("beat_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last_alive_at", INSTANT, nullable=False),
    )


def _refuse_other_schema(connection: sa.Connection) -> None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return
    revision = connection.execute(sa.select(optuna_tables.alembic_version.c.version_num)).scalar_one_or_none()
    if revision not in (None, optuna_tables.SCHEMA_REVISION):
        raise ValueError(
            f"this database holds Optuna's schema {revision}, not {optuna_tables.SCHEMA_REVISION}; "
            "run `optuna storage upgrade --storage URL` on it first (keep a copy)"
        )


def _refuse_other_tables(connection: sa.Connection) -> None:
    inspector = sa.inspect(connection)
    for table in optuna_tables.metadata.sorted_tables:
        if not inspector.has_table(table.name):
            continue
        lacking = set(table.columns.keys()) - {column["name"] for column in inspector.get_columns(table.name)}
        if lacking:
            raise ValueError(
                f"this database has a table {table.name} that is not Optuna's, without the columns"
                f" {', '.join(sorted(lacking))}; give an empty database"
            )


def _refuse_duplicate_numbers(connection: sa.Connection) -> None:
    if not sa.inspect(connection).has_table("trials"):
        return
    trials, studies = optuna_tables.trials, optuna_tables.studies
    duplicates = connection.execute(
        sa.select(studies.c.study_name, trials.c.number, sa.func.count().label("times"))
        .join(studies)
        .where(trials.c.number.is_not(None))
        .group_by(studies.c.study_name, trials.c.number)
        .having(sa.func.count() > 1)
        .order_by(studies.c.study_name, trials.c.number)
    ).all()
    if duplicates:
        rows = "; ".join(f"study {row.study_name!r} number {row.number} ({row.times} trials)" for row in duplicates)
        raise ValueError(
            f"trial numbers are given twice in this database: {rows}. "
            "Delete the surplus rows of `trials` (keep a copy), then start again"
        )
