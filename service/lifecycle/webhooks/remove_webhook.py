"""DELETE /v1/webhooks/{webhook_id}."""

from service.errors import WebhookNotFound
from service.store import webhooks
from service.store.store import Store


def remove_webhook(store: Store, webhook_id: str) -> None:
    """Post nothing more; what is on its way may still arrive.

    Raises:
        WebhookNotFound: There is none of this id.
    """
    with store.writing() as tx:
        if not webhooks.remove(tx, webhook_id):
            raise WebhookNotFound(webhook_id)
