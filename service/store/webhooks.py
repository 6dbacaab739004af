"""All statements on `webhook`, `webhook_progress` and `webhook_delivery`.

A webhook is delivered by whoever holds its claim, for a while: several services share one database. What the holder
writes compares the claim in the statement that writes, so one that was too slow changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, insert, literal, or_, select, update

from service.store.optuna.tables import studies
from service.store.sql.tables import event, study_spec
from service.store.sql.upsert import upsert
from service.store.sql.webhook_tables import webhook, webhook_delivery, webhook_progress
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
    latest = select(literal(webhook_id), event.c.study_uuid, func.max(event.c.sequence)).group_by(event.c.study_uuid)
    if study_uuid is not None:
        latest = latest.where(event.c.study_uuid == study_uuid)
    columns = ["webhook_id", "study_uuid", "sequence"]
    tx.connection.execute(insert(webhook_progress).from_select(columns, latest))
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
    for table in (webhook_progress, webhook_delivery):
        tx.connection.execute(delete(table).where(table.c.webhook_id == webhook_id))
    gone = delete(webhook).where(webhook.c.webhook_id == webhook_id).returning(webhook.c.webhook_id)
    return tx.connection.execute(gone).first() is not None


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
    wanted = select(webhook.c.webhook_id).where(*_is_free(tx), exists(_pending()))
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
    study_uuid = tx.connection.execute(_pending().where(webhook.c.webhook_id == webhook_id).limit(1)).scalar()
    if study_uuid is None:
        return []
    reached = select(webhook_progress.c.sequence).where(
        webhook_progress.c.webhook_id == webhook_id, webhook_progress.c.study_uuid == study_uuid
    )
    wanted = select(event).where(
        event.c.study_uuid == study_uuid,
        event.c.sequence > func.coalesce(reached.scalar_subquery(), 0),
        event.c.kind.in_(_TOLD),
    )
    return list(tx.connection.execute(wanted.order_by(event.c.sequence).limit(limit)))


def advance(tx: Transaction, webhook_id: str, study_uuid: str, sequence: int) -> None:
    """Note that all events of a study up to ``sequence`` have been told; for the holder of the claim."""
    row = {"webhook_id": webhook_id, "study_uuid": study_uuid, "sequence": sequence}
    tx.write(upsert(webhook_progress, "webhook_id", "study_uuid").rows(**row))


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


def _pending() -> Any:
    """Studies of a webhook in which something is yet to be told."""
    reached = select(webhook_progress.c.sequence).where(
        webhook_progress.c.webhook_id == webhook.c.webhook_id, webhook_progress.c.study_uuid == study_spec.c.uuid
    )
    untold = exists().where(
        event.c.study_uuid == study_spec.c.uuid,
        event.c.kind.in_(_TOLD),
        event.c.sequence > func.coalesce(reached.correlate(webhook, study_spec).scalar_subquery(), 0),
    )
    return (
        select(study_spec.c.uuid)
        .where(or_(webhook.c.study_uuid.is_(None), webhook.c.study_uuid == study_spec.c.uuid), untold)
        .order_by(study_spec.c.study_id)
    )
