"""Post to all webhooks that have something to be told."""

from concurrent.futures import Executor

from service.lifecycle.webhooks.deliver_webhook import Send, deliver_webhook
from service.store import webhooks
from service.store.store import Store


def deliver_webhooks(store: Store, send: Send, threads: Executor) -> int:
    """Post what is due, several webhooks at once; return how many messages arrived."""
    with store.reading() as tx:
        due = webhooks.due(tx)
    return sum(threads.map(lambda webhook_id: deliver_webhook(store, send, webhook_id), due))
