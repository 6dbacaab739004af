"""GET /v1/webhooks."""

from service.lifecycle.webhooks.describe_webhook import describe_webhook
from service.store import webhooks
from service.store.store import Store
from spezia.contract.webhook import WebhookList


def list_webhooks(store: Store, limit: int, page_token: str | None) -> WebhookList:
    """One page of webhooks, by id; ``page_token`` is the last id of the page before."""
    with store.reading() as tx:
        rows = webhooks.page(tx, limit + 1, page_token or "")
    shown = [describe_webhook(row) for row in rows[:limit]]
    return WebhookList(webhooks=shown, next_page_token=shown[-1].webhook_id if len(rows) > limit else None)
