"""List studies, page by page (GET /v1/studies)."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from service.lifecycle.page_token import read_token, write_token
from service.lifecycle.studies.describe_study import describe_studies
from service.store import studies
from service.store.store import Store
from service.store.studies import StudyRow
from spezia.contract.study import StudyList, StudyOrder, StudyState
from spezia.contract.tasks import Task


def list_studies(
    store: Store,
    limit: int,
    page_token: str | None,
    states: Collection[StudyState] = (),
    tasks: Collection[Task] = (),
    name_contains: str = "",
    order_by: StudyOrder = "name",
) -> StudyList:
    """Return one page of studies: those that sort behind the last one of the page before.

    Args:
        states: States that are listed; empty: all.
        tasks: Tasks that are listed; empty: all.

    Raises:
        Invalid: ``page_token`` was not made here, or is of a list in another order.
    """
    is_by_name = order_by.endswith("name")
    read_key: Callable[[str], str | datetime] = _name if is_by_name else _instant
    after = None if page_token is None else read_token(page_token, order_by, read_key)
    with store.reading() as tx:
        rows = studies.page(tx, limit + 1, after, states, tasks, name_contains, order_by)
        shown = describe_studies(tx, rows[:limit])
    return StudyList(studies=shown, next_page_token=_token(order_by, rows[limit - 1]) if len(rows) > limit else None)


def _token(order_by: StudyOrder, last: StudyRow) -> str:
    key = last.name if order_by.endswith("name") else last.created_at.isoformat()
    return write_token(order_by, key, last.study_id)


def _name(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError(text)
    return text


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
