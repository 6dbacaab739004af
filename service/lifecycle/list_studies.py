"""GET /v1/studies: the list."""

from service.contract.study import StudyList
from service.lifecycle.describe import describe
from service.store import studies
from service.store.transaction import Store


def list_studies(store: Store, limit: int, page_token: str | None, state: str | None) -> StudyList:
    """One page of studies, by name; ``page_token`` is the last name of the page before."""
    with store.reading() as tx:
        rows = studies.page(tx, limit + 1, page_token, state)
        shown = [describe(tx, row) for row in rows[:limit]]
    return StudyList(studies=shown, next_page_token=shown[-1].name if len(rows) > limit else None)
