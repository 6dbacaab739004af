"""GET /v1/studies/{name} and the list of studies."""

from service.lifecycle.studies.describe import describe
from service.store import studies
from service.store.store import Store
from spezia.contract.study import Study


def show_study(store: Store, name: str) -> Study:
    """Describe one study as it is now.

    Raises:
        StudyNotFound: There is none of this name.
    """
    with store.reading() as tx:
        return describe(tx, studies.find(tx, name))
