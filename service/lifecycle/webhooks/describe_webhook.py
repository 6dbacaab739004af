"""A webhook as people see it."""

from service.store.webhooks import WebhookRow
from spezia.contract.webhook import Webhook


def describe_webhook(row: WebhookRow) -> Webhook:
    """Everything but the secret."""
    is_enabled = row.disabled_reason is None
    return Webhook(
        webhook_id=row.webhook_id,
        url=row.url,
        events=row.events,
        study=row.study_name,
        created_at=row.created_at,
        state="enabled" if is_enabled else "disabled",
        disabled_reason=row.disabled_reason,
        n_failures=row.n_failures,
        next_attempt_at=row.next_attempt_at if is_enabled and row.n_failures else None,
        last_delivered_at=row.last_delivered_at,
    )
