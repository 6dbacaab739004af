"""Webhooks: where what happens in studies is posted to, as Standard Webhooks 1.0 has it (standardwebhooks.com)."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from spezia.contract.wire import Count, Name, Reply, Wire

EventType = Literal["study.changed", "trial.finished", "best.improved"]
"""A study has another state · a trial has ended · a trial has become its study's best."""
EVENT_TYPES: list[EventType] = ["study.changed", "trial.finished", "best.improved"]

Url = Annotated[
    str,
    Field(max_length=1000, pattern=r"^https?://[!-~]+$", description="https; http only in networks that are allowed."),
]


class NewWebhook(Wire):
    url: Url
    events: Annotated[list[EventType], Field(min_length=1, max_length=3)] = EVENT_TYPES
    study: Name | None = None
    """Absent: every study, those to come too."""


class WebhookChange(Wire):
    state: Literal["enabled"]
    """Post again, whatever has failed."""


class Webhook(Reply):
    webhook_id: str
    url: str
    events: list[EventType]
    study: str | None
    created_at: datetime
    state: Literal["enabled", "disabled"]
    disabled_reason: str | None
    """Why nothing is posted any more; enable it again when that is mended."""
    n_failures: Count
    """Attempts that have failed since the last that did not."""
    next_attempt_at: datetime | None
    """Null: when something happens."""
    last_delivered_at: datetime | None


class CreatedWebhook(Webhook):
    secret: str | None
    """`whsec_…`: signs what is posted; shown this once. Null when the answer is repeated for an `Idempotency-Key`."""

    def without_secrets(self) -> Self:
        return self.model_copy(update={"secret": None})


class WebhookList(Reply):
    webhooks: list[Webhook]
    next_page_token: str | None


class Delivery(Reply):
    """One attempt."""

    message_id: str
    type: EventType
    attempted_at: datetime
    duration_seconds: float
    status: int | None
    """What the receiver answered; null: it did not."""
    error: str | None
    """Null: delivered."""


class DeliveryList(Reply):
    deliveries: list[Delivery]
    """The last 100 attempts, the newest first."""
