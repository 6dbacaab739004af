"""Webhooks: URLs to which the service posts what happens in studies, as Standard Webhooks 1.0 specifies."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from spezia.contract.wire import Count, Name, Reply, Wire

EventType = Literal["study.changed", "trial.finished", "best.improved"]
"""Types of message: a study has entered another state; a trial has ended; a trial has become its study's best."""

EVENT_TYPES: list[EventType] = ["study.changed", "trial.finished", "best.improved"]
"""All types of message."""

Url = Annotated[str, Field(max_length=1000, pattern=r"^https?://[!-~]+$")]
"""Address that a webhook posts to."""


class NewWebhook(Wire):
    """A webhook to be created."""

    url: Url
    """Address to post to, by https; http is accepted only for networks that the operator has allowed."""
    events: Annotated[list[EventType], Field(min_length=1, max_length=3)] = EVENT_TYPES
    """Types of message to post; all types when absent."""
    study: Name | None = None
    """Name of the study to post about; when absent, every study, including those created later."""


class WebhookChange(Wire):
    """A change of a webhook."""

    state: Literal["enabled"]
    """New state of the webhook: ``enabled`` makes it post again, whatever has failed before."""


class Webhook(Reply):
    """A webhook: where it posts, what about, and how it goes."""

    webhook_id: str
    """Random id of the webhook."""
    url: str
    """Address that the webhook posts to."""
    events: list[EventType]
    """Types of message that the webhook posts."""
    study: str | None
    """Name of the study that the webhook posts about; null: every study."""
    created_at: datetime
    """Time of the webhook's creation; it posts what happens after that."""
    state: Literal["enabled", "disabled"]
    """Whether the webhook posts; too many failures in a row disable it."""
    disabled_reason: str | None
    """Reason why nothing is posted any more; enable the webhook again when that is mended. Null while it is
    enabled."""
    n_failures: Count
    """Number of attempts that have failed since the last one that succeeded."""
    next_attempt_at: datetime | None
    """Time of the next attempt after a failure; null when the webhook posts as soon as something happens."""
    last_delivered_at: datetime | None
    """Time of the last attempt that succeeded; null while there is none."""


class CreatedWebhook(Webhook):
    """A webhook that was just created, with its secret."""

    secret: str | None
    """Secret (``whsec_…``) that signs what is posted, shown this once; null when the answer is repeated for an
    ``Idempotency-Key``."""

    def without_secrets(self) -> Self:
        return self.model_copy(update={"secret": None})


class WebhookList(Reply):
    """One page of a list of webhooks."""

    webhooks: list[Webhook]
    """Webhooks of this page, by id, without their secrets."""
    next_page_token: str | None
    """Value of ``page_token`` for the next page; null on the last page."""


class Delivery(Reply):
    """One attempt to post a message."""

    message_id: str
    """Id of the message, as in the header ``webhook-id``; the same for each attempt at one message."""
    type: EventType
    """Type of the message."""
    attempted_at: datetime
    """Time of the attempt."""
    duration_seconds: float
    """Duration of the attempt in seconds."""
    status: int | None
    """HTTP status that the receiver answered; null where it did not answer."""
    error: str | None
    """Reason why the attempt failed; null where the message was delivered."""


class DeliveryList(Reply):
    """The latest attempts of a webhook."""

    deliveries: list[Delivery]
    """The last 100 attempts, the newest first."""
