"""All statements on `quote`: what each study will take, as it was said when it was prepared."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select

from service.store.sql.tables import quote
from service.store.transaction import Transaction
from spezia.contract.quote import Quote


def add(tx: Transaction, study_uuid: str, subject: str, quoted: Quote) -> None:
    """Store the quote of a study that has none yet.

    Args:
        subject: What the steps of the study depend on, as a hash.
    """
    row = {"study_uuid": study_uuid, "subject": subject, "quote": quoted.model_dump_json(), "quoted_at": tx.now}
    tx.connection.execute(insert(quote), row)


def of_studies(tx: Transaction, study_uuids: Sequence[str]) -> dict[str, Quote]:
    """Return the quotes of those of some studies that have one, by UUID."""
    wanted = select(quote.c.study_uuid, quote.c.quote).where(quote.c.study_uuid.in_(study_uuids))
    return {row.study_uuid: Quote.model_validate_json(row.quote) for row in tx.connection.execute(wanted)}


def studies_of(tx: Transaction, subjects: Sequence[str], limit: int) -> list[str]:
    """Return the UUIDs of up to ``limit`` studies with a quote of one of these subjects, the last quoted first."""
    wanted = select(quote.c.study_uuid).where(quote.c.subject.in_(subjects))
    return list(tx.connection.execute(wanted.order_by(quote.c.quoted_at.desc()).limit(limit)).scalars())


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the quote of a study."""
    tx.connection.execute(delete(quote).where(quote.c.study_uuid == study_uuid))
