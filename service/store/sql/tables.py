"""Our own tables, beside Optuna's. Instants are UTC; ids are random, never Optuna's integers alone.

No foreign key points into Optuna's tables: stock Optuna's ``delete_study`` would silently do nothing.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)


class Instant(TypeDecorator[datetime]):
    """Column of an aware UTC datetime; SQLite, which has no time zones, holds it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an instant as the database stores it, in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a stored instant as an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

LACKS_CARD = text("finished_at IS NOT NULL AND NOT has_card")
"""What an index of ended studies is of; a query that says it in the same words uses it."""
HIDDEN = text("NOT is_visible")
"""What an index of files is of, likewise."""

STALE = text("is_stale")
"""What an index of summaries is of, likewise."""

UNANSWERED = text("ended_at IS NULL")
"""What indexes of replays and of heads of Parquet files are of, likewise."""

PRUNING = text("should_prune")
"""What an index of evaluations is of, likewise."""

study_spec = Table(
    "study_spec",
    metadata,
    Column("uuid", String(32), primary_key=True),
    Column("study_id", Integer, nullable=False, unique=True),
    # the name of the key that created it; null: it was created without a key
    Column("owner", String(64)),
    Column("spec", Text, nullable=False),
    # as it was posted, once a change has made `spec` another; null: never changed
    Column("posted_spec", Text),
    # of the spec, so that studies with work are found without reading it
    Column("n_trials", Integer, nullable=False, server_default="0"),
    Column("n_parallel", Integer),
    # random, drawn anew with each change of `spec` or `facts`: what was read of a version holds for good
    Column("version", String(32), nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    # what a `stopping` study will be when its last trial has ended
    Column("ending", String(16)),
    Column("failure", JSON),
    Column("facts", JSON),
    # of the winner, on the locked test split
    Column("test_metrics", JSON),
    Column("is_scored", Boolean, nullable=False),
    # of the spec: the winner is confirmed under fresh seeds
    Column("confirms", Boolean, nullable=False, server_default=false()),
    # what that has come to, as JSON; null: it has yet to come to something
    Column("confirmation", Text),
    # of an ended study: its winner's model has its card, or there is no model
    Column("has_card", Boolean, nullable=False, server_default=false()),
    Column("warnings", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    # when its timeout_seconds are up, unless it is paused before; null: never
    Column("deadline", Instant),
    # since when it is paused; null: it is not
    Column("paused_at", Instant),
    # for how long it was paused before that
    Column("paused_seconds", Float(53), nullable=False, server_default="0"),
    Index("study_spec_state", "state"),
    Index("study_spec_deadline", "state", "deadline"),
    Index("study_spec_without_card", "uuid", sqlite_where=LACKS_CARD, postgresql_where=LACKS_CARD),
)

# What the finished trials of each study come to, so that a list of studies reads none of them.
study_summary = Table(
    "study_summary",
    metadata,
    Column("study_uuid", String(32), primary_key=True),
    # finished trials by state
    Column("complete", Integer, nullable=False),
    Column("pruned", Integer, nullable=False),
    Column("fail", Integer, nullable=False),
    # failed trials by failure class
    Column("failures", JSON, nullable=False),
    # numbers of the trials that lead, the best first
    Column("leaders", JSON, nullable=False),
    # first value of the first of them
    Column("best_value", Float(53)),
    Column("generalization_gap", Float(53)),
    # what pilots say of full trials, as it is shown; null: there are none
    Column("small_runs", JSON),
    # of all ended attempts
    Column("device_seconds", Float(53), nullable=False),
    # of all ended attempts at replays, which are not among the former
    Column("replay_seconds", Float(53), nullable=False, server_default="0"),
    # that its trials did not have to spend, as far as their workers have measured it; null: none has
    Column("saved_by_pruning", Float(53)),
    Column("saved_by_early_stopping", Float(53)),
    Column("saved_by_trunk_cache", Float(53)),
    # of a study older than this table: all but the device seconds is yet to be filled in
    Column("is_stale", Boolean, nullable=False),
    Index("study_summary_stale", "study_uuid", sqlite_where=STALE, postgresql_where=STALE),
)

# What each study will take, as it was quoted when it was prepared.
quote = Table(
    "quote",
    metadata,
    Column("study_uuid", String(32), primary_key=True),
    # of what the study's steps depend on: task, model, data, precision and device
    Column("subject", String(64), nullable=False, index=True),
    Column("quote", Text, nullable=False),
    Column("quoted_at", Instant, nullable=False),
)

# Live leases only: a row goes when the right to write goes, so no row means stale.
lease = Table(
    "lease",
    metadata,
    Column("lease_id", String(32), primary_key=True),
    Column("token", String(32), nullable=False, unique=True),
    Column("study_uuid", String(32), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("number", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker_id", String(32), nullable=False, index=True),
    Column("expires_at", Instant, nullable=False, index=True),
    # a person has cancelled this one trial
    Column("is_cancelled", Boolean, nullable=False),
    # of the study's device_seconds; null where it has no such budget
    Column("reserved_seconds", Float(53)),
    # at most one live lease for a trial is a fact of the database
    UniqueConstraint("study_uuid", "kind", "number"),
)

# Every run of a trial (or of prepare and score), kept for good.
attempt = Table(
    "attempt",
    metadata,
    Column("lease_id", String(32), primary_key=True),
    Column("study_uuid", String(32), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("number", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker_id", String(32), nullable=False),
    Column("device", String(256), nullable=False),
    # null in attempts that are older than this column, and than the next
    Column("device_kind", String(8)),
    Column("versions", JSON),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    # the trial's state, or the class of what ended it
    Column("end", String(32)),
    Column("is_counted", Boolean, nullable=False),
    Column("device_seconds", Float(53), nullable=False),
    # the checkpoint that it went on from; null: it began anew
    Column("resume_attempt", Integer),
    Column("resume_step", Integer),
    # the token and the outcome that were accepted: a replay is known by them
    Column("token", String(32)),
    Column("outcome", Text),
    UniqueConstraint("study_uuid", "kind", "number", "attempt"),
)

measurement = Table(
    "measurement",
    metadata,
    Column("study_uuid", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("epoch", Float(53), nullable=False),
    Column("optimizer_steps", BigInteger, nullable=False),
    Column("value", Float(53), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("is_final", Boolean, nullable=False),
    # whether it has read a part of the validation rows only
    Column("partial", Boolean, nullable=False, server_default=false()),
    # the answer, stored so that a replay gets the same
    Column("should_prune", Boolean, nullable=False),
    Column("reason", Text),
    Column("keep_model", Boolean, nullable=False),
    Column("reported_at", Instant, nullable=False),
    # the one that ended an attempt early, so that nobody looks for it among all others
    Index("measurement_pruning", "study_uuid", "number", "attempt", sqlite_where=PRUNING, postgresql_where=PRUNING),
)

# What the params of a trial came to on a fraction of the data, before the trial itself ran.
small_run = Table(
    "small_run",
    metadata,
    Column("study_uuid", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    # of the best evaluation; null: it failed
    Column("value", Float(53)),
    Column("metrics", JSON),
    Column("failure", JSON),
    Column("ended_at", Instant, nullable=False),
)

# What the params of the best trials and of the baseline came to under fresh seeds, after the search.
confirm_run = Table(
    "confirm_run",
    metadata,
    Column("study_uuid", String(32), primary_key=True),
    # of the trial
    Column("number", Integer, primary_key=True),
    # of the fresh seed, from 0
    Column("seed", Integer, primary_key=True),
    # of the best evaluation; null: it failed
    Column("value", Float(53)),
    # the objective on each validation row, or group of rows, as JSON; null: not known
    Column("row_scores", Text),
    Column("failure", JSON),
    Column("ended_at", Instant, nullable=False),
)

# The last replay of each trial that a person has asked for one of.
replay = Table(
    "replay",
    metadata,
    Column("study_uuid", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    # number of its first attempt: those before belong to earlier replays of the trial
    Column("first_attempt", Integer, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("ended_at", Instant),
    # the comparison as it is shown; null until the replay has ended
    Column("result", JSON),
    Index("replay_unanswered", "requested_at", sqlite_where=UNANSWERED, postgresql_where=UNANSWERED),
)

# The beginning of each uploaded Parquet file that somebody has asked for, as a worker has read it.
parquet_head = Table(
    "parquet_head",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("requested_at", Instant, nullable=False),
    # how often a worker was told to read it
    Column("n_claims", Integer, nullable=False),
    # until when no other worker is told to; null: none was told
    Column("claimed_until", Instant),
    Column("ended_at", Instant),
    # rows or problem, as JSON; null until a worker has answered
    Column("outcome", Text),
    Index("parquet_head_unanswered", "requested_at", sqlite_where=UNANSWERED, postgresql_where=UNANSWERED),
)

artifact = Table(
    "artifact",
    metadata,
    Column("lease_id", String(32), primary_key=True),
    Column("file", String(100), primary_key=True),
    Column("study_uuid", String(32), nullable=False),
    Column("number", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    # the trial's result was accepted together with these files
    Column("is_visible", Boolean, nullable=False),
    Index("artifact_trial", "study_uuid", "number"),
    Index("artifact_hidden", "lease_id", sqlite_where=HIDDEN, postgresql_where=HIDDEN),
)

# Checkpoints of paused trials that workers of other folders wait for, and those that have come through the service.
sent_checkpoint = Table(
    "sent_checkpoint",
    metadata,
    # of the attempt that wrote it, which has ended; the file lies in the folder of this name
    Column("lease_id", String(32), primary_key=True),
    Column("study_uuid", String(32), nullable=False),
    Column("number", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    # that holds it
    Column("worker_id", String(32), nullable=False, index=True),
    Column("versions", JSON, nullable=False),
    # by which it may be uploaded
    Column("token", String(32), nullable=False),
    Column("wanted_until", Instant, nullable=False),
    # longest upload that is worth it
    Column("worth_seconds", Float(53), nullable=False),
    # null until it has come
    Column("size_bytes", BigInteger),
    Column("sha256", String(64)),
    Index("sent_checkpoint_trial", "study_uuid", "number"),
)

trial_log = Table(
    "trial_log",
    metadata,
    Column("log_id", Integer, primary_key=True),
    Column("study_uuid", String(32), nullable=False),
    Column("number", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Index("trial_log_trial", "study_uuid", "number"),
    sqlite_autoincrement=True,
)

worker = Table(
    "worker",
    metadata,
    Column("worker_id", String(32), primary_key=True),
    # the home folder of the service that started it; null for a worker started by hand
    Column("launcher", String(1024), index=True),
    Column("host", String(1000)),
    Column("device", JSON),
    Column("versions", JSON),
    Column("registered_at", Instant),
    Column("last_seen_at", Instant),
)

# One row: when a service process last lived. An outage is known by it after a restart.
service_beat = Table(
    "service_beat",
    metadata,
    Column("beat_id", Integer, primary_key=True, autoincrement=False),
    Column("last_alive_at", Instant, nullable=False),
)

# At most one row, on PostgreSQL: by which file services know that they share one folder of uploaded files.
files_folder = Table(
    "files_folder",
    metadata,
    Column("folder_id", Integer, primary_key=True, autoincrement=False),
    # part of the name of a file in the folder
    Column("marker", String(32), nullable=False),
    # host and path by which the first service knew it, for people
    Column("place", Text, nullable=False),
)

# One row, made when somebody asks for it: which database this is, wherever it lies.
database_identity = Table(
    "database_identity",
    metadata,
    Column("identity_id", Integer, primary_key=True, autoincrement=False),
    Column("uuid", String(32), nullable=False),
)

# What happened, in order. Inserted under the study's lock, so a study's sequence has no late commits.
event = Table(
    "event",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("study_uuid", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("at", Instant, nullable=False),
    Index("event_study", "study_uuid", "sequence"),
    sqlite_autoincrement=True,
)

# Why a trial was pruned, and whom it was compared with.
decision = Table(
    "decision",
    metadata,
    Column("study_uuid", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("pruner", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("value", Float(53), nullable=False),
    Column("threshold", Float(53)),
    Column("rank", Integer),
    Column("rung", Integer),
    Column("peers", JSON, nullable=False),
    Column("decided_at", Instant, nullable=False),
)

# Folders of deleted studies, which a crash may have left on the disk; emptied when a service starts.
dropped_folder = Table("dropped_folder", metadata, Column("lease_id", String(32), primary_key=True))

# Answers to POSTs that carried an Idempotency-Key, written in the transaction of their effect.
idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("key", String(255), primary_key=True),
    # of method, path and body
    Column("request_sha256", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("location", String(1000)),
    Column("body", Text, nullable=False),
    Column("answered_at", Instant, nullable=False, index=True),
)

# API keys. Revoked ones of people stay: a service that has ever had one is never open again.
api_key = Table(
    "api_key",
    metadata,
    Column("key_id", String(12), primary_key=True),
    # whose it is; keys of one name own the same studies
    Column("name", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    # of the whole key, whose 256 random bits cannot be guessed: a slow hash would add nothing
    Column("sha256", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    # of whom a launcher made it for; null: people made it, and such rows stay
    Column("worker_id", String(32), index=True),
)

# Sessions of people who have signed in to the pages with an API key; of the random token only the hash is kept.
web_session = Table(
    "web_session",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("key_id", String(12), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
)

# Who has uploaded which pretrained model; the folder of one is named after the hash of names and contents of its files.
pretrained_model = Table(
    "pretrained_model",
    metadata,
    Column("sha256", String(64), primary_key=True),
    # name of the owner's keys; empty: it was uploaded without one
    Column("owner", String(64), primary_key=True),
    # of each its name, its size and its hash
    Column("files", JSON, nullable=False),
    Column("uploaded_at", Instant, nullable=False),
)

# Uploaded data sets; the file of one is named after the hash of its content.
dataset = Table(
    "dataset",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("format", String(8), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("uploaded_at", Instant, nullable=False),
)
