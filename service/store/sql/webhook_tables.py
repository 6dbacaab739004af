"""Our tables of webhooks, in the metadata of all our tables (`tables`)."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from service.store.sql.tables import Instant, metadata

# Where what happens is posted to. The secret signs, so it is stored as it is.
webhook = Table(
    "webhook",
    metadata,
    Column("webhook_id", String(32), primary_key=True),
    Column("url", String(1000), nullable=False),
    Column("secret", String(64), nullable=False),
    Column("events", JSON, nullable=False),
    # null: every study
    Column("study_uuid", String(32), index=True),
    Column("created_at", Instant, nullable=False),
    Column("n_failures", Integer, nullable=False),
    Column("next_attempt_at", Instant, nullable=False),
    Column("last_delivered_at", Instant),
    # null: enabled
    Column("disabled_reason", Text),
    # whoever delivers now, as a random id, and until when nobody else may
    Column("claim", String(32)),
    Column("claimed_until", Instant),
)


PENDING = text("latest > sequence")
"""What the index is of; a query that says it in the same words uses it."""

# How far a webhook has come in each study: sequences are in the order of commits within a study only.
webhook_progress = Table(
    "webhook_progress",
    metadata,
    Column("webhook_id", String(32), primary_key=True),
    Column("study_uuid", String(32), primary_key=True, index=True),
    Column("sequence", BigInteger, nullable=False),
    # the last event of the study that may have to be told
    Column("latest", BigInteger, nullable=False, server_default="0"),
    Index("webhook_progress_pending", "webhook_id", sqlite_where=PENDING, postgresql_where=PENDING),
)


# The last attempts of each webhook.
webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("delivery_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("webhook_id", String(32), nullable=False),
    Column("message_id", String(80), nullable=False),
    Column("type", String(32), nullable=False),
    Column("attempted_at", Instant, nullable=False),
    Column("duration_seconds", Float(53), nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Index("webhook_delivery_webhook", "webhook_id", "delivery_id"),
    sqlite_autoincrement=True,
)
