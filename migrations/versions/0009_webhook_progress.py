"""Which webhooks have something to tell, noted when it happens instead of looked for in all studies."""

import sqlalchemy as sa
from alembic import op

from service.store.sql.webhook_tables import PENDING

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the last event that may have to be told, and fill it in."""
    op.add_column("webhook_progress", sa.Column("latest", sa.BigInteger, nullable=False, server_default="0"))
    # a webhook had no row of a study that began after it, and was to hear of all its events
    op.execute(
        """
        INSERT INTO webhook_progress (webhook_id, study_uuid, sequence, latest)
        SELECT webhook.webhook_id, study_spec.uuid, 0, 0 FROM webhook JOIN study_spec
        ON webhook.study_uuid IS NULL OR webhook.study_uuid = study_spec.uuid
        WHERE NOT EXISTS (
            SELECT 1 FROM webhook_progress AS known
            WHERE known.webhook_id = webhook.webhook_id AND known.study_uuid = study_spec.uuid
        )
        """
    )
    op.execute(
        """
        UPDATE webhook_progress SET latest = coalesce((
            SELECT max(event.sequence) FROM event
            WHERE event.study_uuid = webhook_progress.study_uuid AND event.kind IN ('study', 'trial')
        ), 0)
        """
    )
    op.create_index(
        "webhook_progress_pending",
        "webhook_progress",
        ["webhook_id"],
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
