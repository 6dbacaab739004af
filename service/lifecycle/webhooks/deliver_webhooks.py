"""Post to each webhook what has happened since it was last posted to."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

from service.lifecycle.webhooks.retry_policy import MAX_FAILURES, backoff
from service.lifecycle.webhooks.webhook_messages import Unsent, webhook_messages
from service.store import webhooks
from service.store.store import Store
from service.store.transaction import Transaction
from service.store.webhooks import WebhookRow
from service.webhook_sender import Message, Sent

log = logging.getLogger(__name__)

Send = Callable[[Message], Sent]

BURST_SECONDS = 5.0
"""After so many seconds of posting to one webhook, others have their turn."""
PAGE = 100
"""Events that are looked through at once for one that the webhook wants."""
GONE = 410
"""HTTP status by which a receiver says that it wants no more messages."""


@dataclass(frozen=True)
class _Next:
    webhook: WebhookRow
    happened: Any
    """A row of `event`."""
    messages: list[Unsent]
    """Empty where the webhook wants nothing of a whole page, which is then behind it."""
    timestamp: int


def deliver_webhooks(store: Store, send: Send, threads: Executor) -> int:
    """Post what is due, to several webhooks at once; return how many messages arrived."""
    with store.reading() as tx:
        due = webhooks.due(tx)
    return sum(threads.map(lambda webhook_id: deliver_webhook(store, send, webhook_id), due))


def deliver_webhook(store: Store, send: Send, webhook_id: str) -> int:
    """Post messages in the order of each study's events until one fails or none is left; return how many arrived.

    Each is posted at least once, with the same id each time: how far a webhook has come is stored after the receiver
    has answered. Nothing is posted by two services at once, as long as an attempt takes less than a claim.
    """
    claim = uuid4().hex
    until = monotonic() + BURST_SECONDS
    n_delivered = 0
    while True:
        with store.writing() as tx:
            following = _find_next(tx, webhook_id, claim)
        if following is None:
            return n_delivered
        if not following.messages:
            continue
        attempts = _post(send, following)
        with store.writing() as tx:
            goes_on = _record(tx, following, claim, attempts) and monotonic() < until
            if not goes_on:
                webhooks.release(tx, webhook_id, claim)
        delivered = [attempt for attempt in attempts if attempt.error is None]
        n_delivered += len(delivered)
        store.metrics.webhook_attempts.labels("delivered").inc(len(delivered))
        store.metrics.webhook_attempts.labels("failed").inc(len(attempts) - len(delivered))
        if not goes_on:
            return n_delivered


def _find_next(tx: Transaction, webhook_id: str, claim: str) -> _Next | None:
    webhook = webhooks.claim(tx, webhook_id, claim)
    if webhook is None:
        return None
    happened = webhooks.next_events(tx, webhook_id, PAGE)
    if not happened:
        webhooks.release(tx, webhook_id, claim)
        return None
    timestamp = int(tx.now.timestamp())
    for one in happened:
        messages = webhook_messages(tx, webhook, one)
        if messages:
            return _Next(webhook, one, messages, timestamp)
    webhooks.advance(tx, webhook_id, happened[-1].study_uuid, happened[-1].sequence)
    return _Next(webhook, happened[-1], [], timestamp)


def _post(send: Send, following: _Next) -> list[webhooks.Attempt]:
    """Post the messages of one event, up to the first that fails."""
    attempts: list[webhooks.Attempt] = []
    for one in following.messages:
        began = monotonic()
        sent = send(
            Message(
                url=following.webhook.url,
                secret=following.webhook.secret,
                message_id=one.message_id,
                timestamp=following.timestamp,
                body=one.body,
            )
        )
        attempts.append(
            webhooks.Attempt(
                message_id=one.message_id,
                type=one.type,
                duration_seconds=monotonic() - began,
                status=sent.status,
                error=sent.error,
            )
        )
        if sent.error is not None:
            break
    return attempts


def _record(tx: Transaction, following: _Next, claim: str, attempts: list[webhooks.Attempt]) -> bool:
    """Store how the attempts went; return whether to go on."""
    webhook_id = following.webhook.webhook_id
    webhook = webhooks.renew(tx, webhook_id, claim)
    if webhook is None:
        return False  # removed meanwhile, or we were so slow that another has begun to post the same
    for attempt in attempts:
        webhooks.note(tx, webhook_id, attempt)
    last = attempts[-1]
    if last.error is None:
        webhooks.advance(tx, webhook_id, following.happened.study_uuid, following.happened.sequence)
        webhooks.change(tx, webhook_id, n_failures=0, next_attempt_at=tx.now, last_delivered_at=tx.now)
        return True
    n_failures = 1 if len(attempts) > 1 else webhook.n_failures + 1
    changes: dict[str, Any] = {"n_failures": n_failures, "next_attempt_at": tx.now + backoff(n_failures)}
    if n_failures >= MAX_FAILURES or last.status == GONE:
        reason = (
            "the receiver says that it is gone" if last.status == GONE else f"{n_failures} attempts failed in a row"
        )
        changes["disabled_reason"] = f"{reason}; the last: {last.error}"
        log.warning("a webhook is disabled: %s", reason, extra={"webhook_id": webhook_id, "failure": last.error})
    webhooks.change(tx, webhook_id, **changes)
    return False
