"""Where the kept model of a study lies."""

from pathlib import Path

from service.errors import LeaseLost, NoModel
from service.search.best import best_trial
from service.store import artifacts, leases, studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Store, Transaction


def find_model(store: Store, folder: Path, name: str) -> Path:
    """The directory of the best trial's model, which ``from_pretrained`` opens.

    Raises:
        StudyNotFound: There is no such study.
        NoModel: None is kept, or none yet.
    """
    with store.reading() as tx:
        directory = model_directory(tx, folder, studies.find(tx, name))
    if directory is None:
        raise NoModel(
            f"study {name!r} has no model: that of the best COMPLETE trial is kept, unless training.keep_models is 0"
        )
    return directory


def find_leased_model_file(store: Store, folder: Path, lease_id: str, token: str, file: str) -> Path:
    """One file of the model that the holder of a ``score`` lease is to score.

    Raises:
        LeaseLost: The lease is stale.
        NoModel: The model has no such file.
    """
    with store.reading() as tx:
        held = leases.find(tx, lease_id, token)
        if held is None:
            raise LeaseLost
        model = artifacts.kept_models(tx, held.study_uuid).get(held.number)
    if model is None or file not in model.files:
        raise NoModel(f"the model of trial {held.number} has no file {file!r}")
    return folder / model.lease_id / file


def model_directory(tx: Transaction, folder: Path, study: StudyRow) -> Path | None:
    best = best_trial(trials.all_of(tx, study), study.spec.direction)
    model = None if best is None else artifacts.kept_models(tx, study.uuid).get(best.number)
    return None if model is None else folder / model.lease_id
