"""Remove a webhook (DELETE /v1/webhooks/{webhook_id})."""

from service.errors import WebhookNotFound
from service.store import webhooks
from service.store.store import Store


def remove_webhook(store: Store, webhook_id: str) -> None:
    """Remove a webhook, so that nothing more is posted to it; a message that is on its way may still arrive.

    Raises:
        WebhookNotFound: There is no webhook of this id.
    """
    with store.writing() as tx:
        if not webhooks.remove(tx, webhook_id):
            raise WebhookNotFound(webhook_id)
