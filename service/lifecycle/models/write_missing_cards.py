"""Cards of studies that ended without a worker's word."""

from pathlib import Path

from service.lifecycle.models.write_card import write_card
from service.store import studies
from service.store.store import Store


def write_missing_cards(store: Store, folder: Path) -> None:
    """Those of studies that ended without a worker's word: stopped, cancelled, or their last worker was lost."""
    with store.reading() as tx:
        missing = studies.without_card(tx)
    for study_uuid in missing:
        write_card(store, folder, study_uuid)
