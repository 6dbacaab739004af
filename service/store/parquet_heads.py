"""All statements on `parquet_head`: the beginnings of uploaded Parquet files, which workers read.

A worker that is told to read a file has a claim, for a while. It is no lease: a file is known by the hash of its
content, so every worker finds the same in it, and the first answer stands, whoever gives it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, or_, select, update

from service.lease_and_heartbeat_terms import MAX_CLAIMS, READ_SECONDS
from service.store.sql.statements import Call, Statement
from service.store.sql.tables import UNANSWERED, Instant, parquet_head
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction
from spezia.contract.parquet_head import HeadOutcome

TERM = timedelta(seconds=READ_SECONDS)
"""How long a claim lasts."""

_NOW = bindparam("now", type_=Instant())
_IS_FREE = or_(parquet_head.c.claimed_until.is_(None), parquet_head.c.claimed_until <= _NOW)
_MAY_BE_CLAIMED = (UNANSWERED, parquet_head.c.n_claims < MAX_CLAIMS, _IS_FREE)
_WAITING = Statement(
    select(parquet_head.c.sha256)
    .where(*_MAY_BE_CLAIMED)
    .order_by(parquet_head.c.requested_at, parquet_head.c.sha256)
    .limit(1)
)


@dataclass(frozen=True, kw_only=True)
class HeadRow:
    """The beginning of one Parquet file, as far as it is known."""

    n_claims: int
    """How often a worker was told to read it."""
    claimed_until: datetime | None
    """Until when no other worker is told to; ``None``: none was told."""
    outcome: HeadOutcome | None
    """What has come of it; ``None``: no worker has answered."""


def find(tx: Transaction, sha256: str) -> HeadRow | None:
    """Return what is known of the beginning of a Parquet file; ``None``: nobody has asked for it."""
    row = tx.connection.execute(select(parquet_head).where(parquet_head.c.sha256 == sha256)).first()
    if row is None:
        return None
    outcome = None if row.outcome is None else HeadOutcome.model_validate_json(row.outcome)
    return HeadRow(n_claims=row.n_claims, claimed_until=row.claimed_until, outcome=outcome)


def ask(tx: Transaction, sha256: str) -> None:
    """Have a worker read the beginning of a Parquet file, if none was asked to before."""
    row = {"sha256": sha256, "requested_at": tx.now, "n_claims": 0}
    tx.connection.execute(insert_of(tx.connection, parquet_head).values(**row).on_conflict_do_nothing())
    tx.make_work()


def waiting(now: datetime) -> Call[str | None]:
    """Ask for the hash of the file that has waited longest for a worker to read it; ``None``: there is none."""
    return _WAITING.first(lambda row: str(row.sha256), now=now)


def claim(tx: Transaction, sha256: str) -> bool:
    """Keep a file for the worker that is about to read it; ``False``: another one was faster."""
    mine = update(parquet_head).where(parquet_head.c.sha256 == sha256, *_MAY_BE_CLAIMED)
    claimed = mine.values(n_claims=parquet_head.c.n_claims + 1, claimed_until=tx.now + TERM)
    return tx.connection.execute(claimed, {"now": tx.now}).rowcount == 1


def answer(tx: Transaction, sha256: str, outcome: HeadOutcome) -> None:
    """Store what a worker has found, if somebody has asked for it and no other worker has answered."""
    unanswered = update(parquet_head).where(parquet_head.c.sha256 == sha256, UNANSWERED)
    tx.connection.execute(unanswered.values(ended_at=tx.now, outcome=outcome.model_dump_json()))


def forget_without_rows(tx: Transaction, sha256: str) -> None:
    """Drop what is known of a file whose rows are not, so that the next who asks has it read anew."""
    row = find(tx, sha256)
    if row is not None and (row.outcome is None or row.outcome.head is None):
        tx.connection.execute(delete(parquet_head).where(parquet_head.c.sha256 == sha256))
