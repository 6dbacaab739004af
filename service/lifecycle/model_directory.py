"""Where the model of the best trial lies."""

from pathlib import Path

from service.search.best import best_trial
from service.store import artifacts, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def model_directory(tx: Transaction, folder: Path, study: StudyRow) -> Path | None:
    best = best_trial(trials.all_of(tx, study), study.spec.direction)
    model = None if best is None else artifacts.kept_models(tx, study.uuid).get(best.number)
    return None if model is None else folder / model.lease_id
