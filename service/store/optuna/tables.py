"""Optuna's published RDB schema, version ``v3.2.0.a`` (unchanged since Optuna 3.2), as tables of ours.

A test compares them column by column with what stock Optuna creates. A few things are ours: AUTOINCREMENT
on SQLite, which otherwise reuses the id of a deleted study, and two indexes of trials, a unique one on study and
number, and one of the few trials that have not finished.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    exists,
    func,
    text,
)

from service.rung_marks import PAUSED, REACHED

SCHEMA_REVISION = "v3.2.0.a"
SCHEMA_VERSION = 12
NUMBER_INDEX = "spezia_trials_study_number"
UNFINISHED_INDEX = "spezia_trials_unfinished"
UNFINISHED = text("state IN ('RUNNING', 'WAITING')")
"""What the index is of; a query that says it in the same words uses it."""

metadata = MetaData()

studies = Table(
    "studies",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("study_name", String(512), index=True, unique=True, nullable=False),
    sqlite_autoincrement=True,
)

study_directions = Table(
    "study_directions",
    metadata,
    Column("study_direction_id", Integer, primary_key=True),
    Column("direction", Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection"), nullable=False),
    Column("study_id", ForeignKey("studies.study_id"), nullable=False),
    Column("objective", Integer, nullable=False),
    UniqueConstraint("study_id", "objective"),
)

trials = Table(
    "trials",
    metadata,
    Column("trial_id", Integer, primary_key=True),
    Column("number", Integer),
    Column("study_id", ForeignKey("studies.study_id"), index=True),
    Column(
        "state",
        Enum("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING", name="trialstate"),
        nullable=False,
    ),
    Column("datetime_start", DateTime),
    Column("datetime_complete", DateTime),
    Index(NUMBER_INDEX, "study_id", "number", unique=True),
    Index(UNFINISHED_INDEX, "study_id", "number", sqlite_where=UNFINISHED, postgresql_where=UNFINISHED),
    sqlite_autoincrement=True,
)

trial_params = Table(
    "trial_params",
    metadata,
    Column("param_id", Integer, primary_key=True),
    Column("trial_id", ForeignKey("trials.trial_id")),
    Column("param_name", String(512)),
    Column("param_value", Float(53)),
    Column("distribution_json", Text),
    UniqueConstraint("trial_id", "param_name"),
)

trial_values = Table(
    "trial_values",
    metadata,
    Column("trial_value_id", Integer, primary_key=True),
    Column("trial_id", ForeignKey("trials.trial_id"), nullable=False),
    Column("objective", Integer, nullable=False),
    Column("value", Float(53)),
    Column("value_type", Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype"), nullable=False),
    UniqueConstraint("trial_id", "objective"),
)

trial_intermediate_values = Table(
    "trial_intermediate_values",
    metadata,
    Column("trial_intermediate_value_id", Integer, primary_key=True),
    Column("trial_id", ForeignKey("trials.trial_id"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("intermediate_value", Float(53)),
    Column(
        "intermediate_value_type",
        Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
        nullable=False,
    ),
    UniqueConstraint("trial_id", "step"),
)

trial_heartbeats = Table(
    "trial_heartbeats",
    metadata,
    Column("trial_heartbeat_id", Integer, primary_key=True),
    Column("trial_id", ForeignKey("trials.trial_id"), nullable=False, unique=True),
    Column("heartbeat", DateTime, nullable=False, default=func.current_timestamp()),
)

version_info = Table(
    "version_info",
    metadata,
    Column("version_info_id", Integer, primary_key=True, autoincrement=False),
    Column("schema_version", Integer),
    Column("library_version", String(256)),
    CheckConstraint("version_info_id=1"),
)

alembic_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))


def _attributes(owner: str, plural: str) -> tuple[Table, Table]:
    user, system = (
        Table(
            f"{owner}_{kind}_attributes",
            metadata,
            Column(f"{owner}_{kind}_attribute_id", Integer, primary_key=True),
            Column(f"{owner}_id", ForeignKey(f"{plural}.{owner}_id")),
            Column("key", String(512)),
            Column("value_json", Text),
            UniqueConstraint(f"{owner}_id", "key"),
        )
        for kind in ("user", "system")
    )
    return user, system


study_user_attributes, study_system_attributes = _attributes("study", "studies")
trial_user_attributes, trial_system_attributes = _attributes("trial", "trials")


def _has(attributes: Table, key: str) -> ColumnElement[bool]:
    return exists().where(attributes.c.trial_id == trials.c.trial_id, attributes.c.key == key).correlate(trials)


IS_PAUSED = and_(_has(trial_user_attributes, PAUSED), _has(trial_system_attributes, REACHED))
"""Condition that a WAITING trial is paused, as `service.rung_marks.pause_of` has it."""
