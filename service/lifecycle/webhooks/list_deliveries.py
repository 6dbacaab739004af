"""GET /v1/webhooks/{webhook_id}/deliveries."""

from service.errors import WebhookNotFound
from service.store import webhooks
from service.store.store import Store
from spezia.contract.webhook import Delivery, DeliveryList


def list_deliveries(store: Store, webhook_id: str) -> DeliveryList:
    """The last attempts, the newest first.

    Raises:
        WebhookNotFound: There is none of this id.
    """
    with store.reading() as tx:
        if webhooks.find(tx, webhook_id) is None:
            raise WebhookNotFound(webhook_id)
        rows = webhooks.deliveries(tx, webhook_id)
    fields = Delivery.model_fields
    return DeliveryList(deliveries=[Delivery(**{name: getattr(row, name) for name in fields}) for row in rows])
