"""Tables of webhooks: where events are posted to, how far each webhook has come, and its last attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INSTANT = sa.DateTime(timezone=True)
ID = sa.String(32)


def upgrade() -> None:
    """Make the three tables of webhooks."""
    op.create_table(
        "webhook",
        sa.Column("webhook_id", ID, primary_key=True),
        sa.Column("url", sa.String(1000), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("study_uuid", ID, index=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("n_failures", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", INSTANT, nullable=False),
        sa.Column("last_delivered_at", INSTANT),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("claim", ID),
        sa.Column("claimed_until", INSTANT),
    )
    op.create_table(
        "webhook_progress",
        sa.Column("webhook_id", ID, primary_key=True),
        sa.Column("study_uuid", ID, primary_key=True, index=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("delivery_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("webhook_id", ID, nullable=False),
        sa.Column("message_id", sa.String(80), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("attempted_at", INSTANT, nullable=False),
        sa.Column("duration_seconds", sa.Float(53), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Index("webhook_delivery_webhook", "webhook_id", "delivery_id"),
        sqlite_autoincrement=True,
    )
