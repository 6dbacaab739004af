"""Enable a webhook again (PATCH /v1/webhooks/{webhook_id})."""

from service.errors import WebhookNotFound
from service.lifecycle.webhooks.show_webhooks import describe_webhook
from service.store import webhooks
from service.store.store import Store
from spezia.contract.webhook import Webhook


def enable_webhook(store: Store, webhook_id: str) -> Webhook:
    """Post to a webhook again, at once and as if it had never failed; what it has missed comes first.

    Raises:
        WebhookNotFound: There is no webhook of this id.
    """
    with store.writing() as tx:
        row = webhooks.enable(tx, webhook_id)
    if row is None:
        raise WebhookNotFound(webhook_id)
    return describe_webhook(row)
