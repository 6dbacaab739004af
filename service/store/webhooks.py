"""All statements on `webhook`, `webhook_progress` and `webhook_delivery`.

A webhook is delivered by whoever holds its claim, for a while: several services share one database. What the holder
writes compares the claim in the statement that writes, so one that was too slow changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, insert, or_, select, update

from service.store.optuna.tables import studies
from service.store.sql.tables import event, study_spec
from service.store.sql.webhook_tables import PENDING, webhook, webhook_delivery, webhook_progress
from service.store.transaction import Transaction
from spezia.contract.webhook import EventType

CLAIM = timedelta(seconds=120)
"""How long a claim lasts: longer than the two messages of one event may take."""
KEPT_DELIVERIES = 100
"""Number of attempts that are kept of each webhook."""
_TOLD = ("study", "trial")
"""Kinds of events that may become messages."""


@dataclass(frozen=True, kw_only=True)
class WebhookRow:
    """A webhook as one transaction saw it."""

    webhook_id: str
    url: str
    secret: str
    events: list[EventType]
    study_uuid: str | None
    """The study whose events are posted; ``None``: those of every study."""
    study_name: str | None
    created_at: datetime
    n_failures: int
    next_attempt_at: datetime
    last_delivered_at: datetime | None
    disabled_reason: str | None
    claim: str | None
    claimed_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to post a message."""

    message_id: str
    type: EventType
    duration_seconds: float
    status: int | None
    error: str | None


def add(tx: Transaction, url: str, secret: str, events: list[EventType], study_uuid: str | None) -> WebhookRow:
    """Store a webhook that hears of what happens from now on."""
    webhook_id = uuid4().hex
    row = {
        "webhook_id": webhook_id,
        "url": url,
        "secret": secret,
        "events": events,
        "study_uuid": study_uuid,
        "created_at": tx.now,
        "n_failures": 0,
        "next_attempt_at": tx.now,
    }
    tx.connection.execute(insert(webhook), row)
    added = find(tx, webhook_id)
    assert added is not None
    return added


def find(tx: Transaction, webhook_id: str) -> WebhookRow | None:
    """Return a webhook, or ``None``."""
    row = tx.connection.execute(_wanted().where(webhook.c.webhook_id == webhook_id)).first()
    return None if row is None else WebhookRow(**row._asdict())


def page(tx: Transaction, limit: int, after: str) -> list[WebhookRow]:
    """Return up to ``limit`` webhooks by id, behind ``after``."""
    wanted = _wanted().where(webhook.c.webhook_id > after).order_by(webhook.c.webhook_id).limit(limit)
    return [WebhookRow(**row._asdict()) for row in tx.connection.execute(wanted)]


def remove(tx: Transaction, webhook_id: str) -> bool:
    """Drop a webhook; ``False`` if there is none."""
    # the webhook first, as whoever delivers it does, so that the two cannot wait for each other
    gone = delete(webhook).where(webhook.c.webhook_id == webhook_id).returning(webhook.c.webhook_id)
    was_there = tx.connection.execute(gone).first() is not None
    for table in (webhook_progress, webhook_delivery):
        tx.connection.execute(delete(table).where(table.c.webhook_id == webhook_id))
    return was_there


def enable(tx: Transaction, webhook_id: str) -> WebhookRow | None:
    """Let a webhook be tried at once, and forget its failures; ``None`` if there is none."""
    change(tx, webhook_id, n_failures=0, next_attempt_at=tx.now, disabled_reason=None)
    return find(tx, webhook_id)


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the webhooks of one study, and how far those of all studies have come in it."""
    own = list(tx.connection.execute(select(webhook.c.webhook_id).where(webhook.c.study_uuid == study_uuid)).scalars())
    for webhook_id in own:
        remove(tx, webhook_id)
    tx.connection.execute(delete(webhook_progress).where(webhook_progress.c.study_uuid == study_uuid))


def due(tx: Transaction) -> list[str]:
    """Return the ids of webhooks that nobody delivers now, that may be tried, and that have something to tell."""
    wanted = select(webhook.c.webhook_id).where(
        *_is_free(tx), exists().where(webhook_progress.c.webhook_id == webhook.c.webhook_id, PENDING)
    )
    return list(tx.connection.execute(wanted.order_by(webhook.c.next_attempt_at)).scalars())


def claim(tx: Transaction, webhook_id: str, claim: str) -> WebhookRow | None:
    """Take the right to deliver a webhook for a while, or keep it; ``None`` if it is another's or nothing is due."""
    mine = and_(webhook.c.claim == claim, webhook.c.disabled_reason.is_(None))
    return _claim(tx, webhook_id, claim, or_(mine, and_(*_is_free(tx))))


def renew(tx: Transaction, webhook_id: str, claim: str) -> WebhookRow | None:
    """Keep the right to deliver; ``None`` if it is lost: somebody else may have delivered meanwhile."""
    return _claim(tx, webhook_id, claim, webhook.c.claim == claim)


def release(tx: Transaction, webhook_id: str, claim: str) -> None:
    """Give the right to deliver a webhook back, if it is still held."""
    held = update(webhook).where(webhook.c.webhook_id == webhook_id, webhook.c.claim == claim)
    tx.connection.execute(held.values(claim=None, claimed_until=None))


def next_events(tx: Transaction, webhook_id: str, limit: int) -> list[Row[Any]]:
    """Return the next rows of events of one study, in order, that are to be told; none if all have been."""
    pending = (
        select(webhook_progress)
        .where(webhook_progress.c.webhook_id == webhook_id, PENDING)
        .order_by(webhook_progress.c.study_uuid)
        .limit(1)
    )
    progress = tx.connection.execute(pending).first()
    if progress is None:
        return []
    wanted = select(event).where(
        event.c.study_uuid == progress.study_uuid,
        event.c.sequence > progress.sequence,
        event.c.kind.in_(_TOLD),
    )
    found = list(tx.connection.execute(wanted.order_by(event.c.sequence).limit(limit)))
    if not found:
        advance(tx, webhook_id, progress.study_uuid, progress.latest)  # its events are gone
    return found


def advance(tx: Transaction, webhook_id: str, study_uuid: str, sequence: int) -> None:
    """Note that all events of a study up to ``sequence`` have been told; for the holder of the claim."""
    mine = (webhook_progress.c.webhook_id == webhook_id, webhook_progress.c.study_uuid == study_uuid)
    tx.connection.execute(update(webhook_progress).where(*mine).values(sequence=sequence))


def note(tx: Transaction, webhook_id: str, attempt: Attempt) -> None:
    """Keep an attempt for people to see, and the 99 before it."""
    tx.connection.execute(
        insert(webhook_delivery), {"webhook_id": webhook_id, "attempted_at": tx.now, **attempt.__dict__}
    )
    own = webhook_delivery.c.webhook_id == webhook_id
    newest_first = select(webhook_delivery.c.delivery_id).where(own).order_by(webhook_delivery.c.delivery_id.desc())
    oldest_kept = newest_first.offset(KEPT_DELIVERIES).limit(1).scalar_subquery()
    tx.connection.execute(delete(webhook_delivery).where(own, webhook_delivery.c.delivery_id <= oldest_kept))


def change(tx: Transaction, webhook_id: str, **columns: Any) -> None:
    """Change columns of a webhook."""
    tx.connection.execute(update(webhook).where(webhook.c.webhook_id == webhook_id).values(**columns))


def deliveries(tx: Transaction, webhook_id: str) -> list[Row[Any]]:
    """Return the rows of the kept attempts of a webhook, the newest first."""
    wanted = select(webhook_delivery).where(webhook_delivery.c.webhook_id == webhook_id)
    return list(tx.connection.execute(wanted.order_by(webhook_delivery.c.delivery_id.desc())))


def n_deliveries(tx: Transaction, before: datetime) -> int:
    """Return how many attempts are kept that were made before an instant."""
    old = select(func.count()).select_from(webhook_delivery).where(webhook_delivery.c.attempted_at < before)
    return tx.connection.execute(old).scalar_one()


def prune_deliveries(tx: Transaction, before: datetime, limit: int) -> int:
    """Remove up to ``limit`` attempts that were made before an instant; return how many."""
    old = select(webhook_delivery.c.delivery_id).where(webhook_delivery.c.attempted_at < before).limit(limit)
    return tx.connection.execute(delete(webhook_delivery).where(webhook_delivery.c.delivery_id.in_(old))).rowcount


def _claim(tx: Transaction, webhook_id: str, claim: str, may_take: ColumnElement[bool]) -> WebhookRow | None:
    taken = update(webhook).where(webhook.c.webhook_id == webhook_id, may_take).returning(webhook.c.webhook_id)
    if tx.connection.execute(taken.values(claim=claim, claimed_until=tx.now + CLAIM)).first() is None:
        return None
    return find(tx, webhook_id)


def _wanted() -> Any:
    spec = webhook.outerjoin(study_spec, study_spec.c.uuid == webhook.c.study_uuid)
    return select(webhook, studies.c.study_name).select_from(
        spec.outerjoin(studies, studies.c.study_id == study_spec.c.study_id)
    )


def _is_free(tx: Transaction) -> tuple[Any, ...]:
    unclaimed = or_(webhook.c.claimed_until.is_(None), webhook.c.claimed_until < tx.now)
    return webhook.c.disabled_reason.is_(None), webhook.c.next_attempt_at <= tx.now, unclaimed
