"""What people see of webhooks and of the attempts to post to them; never a secret."""

from service.errors import WebhookNotFound
from service.store import webhooks
from service.store.store import Store
from service.store.webhooks import WebhookRow
from spezia.contract.webhook import Delivery, DeliveryList, Webhook, WebhookList


def show_webhook(store: Store, webhook_id: str) -> Webhook:
    """Describe one webhook, without its secret.

    Raises:
        WebhookNotFound: There is no webhook of this id.
    """
    with store.reading() as tx:
        row = webhooks.find(tx, webhook_id)
    if row is None:
        raise WebhookNotFound(webhook_id)
    return describe_webhook(row)


def list_webhooks(store: Store, limit: int, page_token: str | None) -> WebhookList:
    """Return one page of webhooks, by id; ``page_token`` is the last id of the page before."""
    with store.reading() as tx:
        rows = webhooks.page(tx, limit + 1, page_token or "")
    shown = [describe_webhook(row) for row in rows[:limit]]
    return WebhookList(webhooks=shown, next_page_token=shown[-1].webhook_id if len(rows) > limit else None)


def list_deliveries(store: Store, webhook_id: str) -> DeliveryList:
    """Return the last attempts to post to a webhook, the newest first.

    Raises:
        WebhookNotFound: There is no webhook of this id.
    """
    with store.reading() as tx:
        if webhooks.find(tx, webhook_id) is None:
            raise WebhookNotFound(webhook_id)
        rows = webhooks.deliveries(tx, webhook_id)
    fields = Delivery.model_fields
    return DeliveryList(deliveries=[Delivery(**{name: getattr(row, name) for name in fields}) for row in rows])


def describe_webhook(row: WebhookRow) -> Webhook:
    """Describe a webhook with everything but its secret."""
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
