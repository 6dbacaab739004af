"""Routes of webhooks, to which the service posts what happens."""

from typing import Annotated

from fastapi import APIRouter, Path, Response, status

from service.dependencies import PartsDep, StoreDep
from service.errors import Invalid, KeyReused, WebhookNotFound
from service.lifecycle.webhooks.create_webhook import create_webhook
from service.lifecycle.webhooks.enable_webhook import enable_webhook
from service.lifecycle.webhooks.remove_webhook import remove_webhook
from service.lifecycle.webhooks.show_webhooks import list_deliveries, list_webhooks, show_webhook
from service.routes import examples
from service.routes.idempotency import IdempotencyDep
from service.routes.parameters import Limit, PageToken
from service.routes.responses import created, link, problems
from service.routes.strict_json import StrictRoute
from service.store.store import Store
from spezia.contract.webhook import CreatedWebhook, DeliveryList, NewWebhook, Webhook, WebhookChange, WebhookList

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictRoute)

_LINKS = {
    name: link(operation, webhook_id="webhook_id")
    for name, operation in (
        ("webhook", "get_webhook"),
        ("deliveries", "get_deliveries"),
        ("enable", "patch_webhook"),
        ("remove", "delete_webhook"),
    )
}
WebhookId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="The webhook's id.")]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=CreatedWebhook,
    responses=problems(Invalid, KeyReused) | created("The webhook, with its secret.", **_LINKS),
)
def post_webhook(
    wanted: Annotated[NewWebhook, examples.body(finished=examples.WEBHOOK)],
    parts: PartsDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Have what happens from now on posted to a URL. The secret is shown this once, and not in a repeated answer.

    A message is `{type, timestamp, data}`, signed as Standard Webhooks has it (`webhook-id`, `webhook-timestamp`,
    `webhook-signature`); check the signature with one of its libraries. Answer 2xx within 15 s. Anything else is tried
    again, after 5 s and then ever more rarely, with the same `webhook-id`; after 15 failures in a row, or 410, the
    webhook is disabled and says why; `PATCH` enables it again. A message may come twice, never out of the order of its
    study. Private and loopback addresses are refused unless the operator allows them; redirects are not followed.
    """

    def act(store: Store) -> tuple[int, CreatedWebhook, str]:
        webhook = create_webhook(store, parts.webhook_sender, wanted)
        return status.HTTP_201_CREATED, webhook, f"/v1/webhooks/{webhook.webhook_id}"

    return idempotency.answer(act, wanted)


@router.get("", responses=problems(Invalid))
def get_webhooks(store: StoreDep, limit: Limit = 100, page_token: PageToken = None) -> WebhookList:
    """List webhooks by id, without their secrets."""
    return list_webhooks(store, limit, page_token)


@router.get("/{webhook_id}", responses=problems(WebhookNotFound))
def get_webhook(webhook_id: WebhookId, store: StoreDep) -> Webhook:
    """Describe one webhook, without its secret; `disabled_reason` says why nothing comes any more."""
    return show_webhook(store, webhook_id)


@router.patch("/{webhook_id}", responses=problems(WebhookNotFound))
def patch_webhook(
    webhook_id: WebhookId, change: Annotated[WebhookChange, examples.body(enabled=examples.ENABLED)], store: StoreDep
) -> Webhook:
    """Enable a webhook again: it is tried at once, what it has missed comes first, and its failures are forgotten.

    One that waits after a failure is tried at once, too.
    """
    return enable_webhook(store, webhook_id)


@router.delete("/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(WebhookNotFound))
def delete_webhook(webhook_id: WebhookId, store: StoreDep) -> None:
    """Remove a webhook, so that nothing more is posted to it; a message that is on its way may still arrive."""
    remove_webhook(store, webhook_id)


@router.get("/{webhook_id}/deliveries", responses=problems(WebhookNotFound))
def get_deliveries(webhook_id: WebhookId, store: StoreDep) -> DeliveryList:
    """List the last 100 attempts to post to a webhook, the newest first, with what the receiver answered."""
    return list_deliveries(store, webhook_id)
