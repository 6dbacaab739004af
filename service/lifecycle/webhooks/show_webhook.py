"""GET /v1/webhooks/{webhook_id}."""

from service.errors import WebhookNotFound
from service.lifecycle.webhooks.describe_webhook import describe_webhook
from service.store import webhooks
from service.store.store import Store
from spezia.contract.webhook import Webhook


def show_webhook(store: Store, webhook_id: str) -> Webhook:
    """One webhook, without its secret.

    Raises:
        WebhookNotFound: There is none of this id.
    """
    with store.reading() as tx:
        row = webhooks.find(tx, webhook_id)
    if row is None:
        raise WebhookNotFound(webhook_id)
    return describe_webhook(row)
