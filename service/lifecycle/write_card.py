"""A model card beside the winner's model when a study has ended: the service alone knows trials and test figures."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from service.lifecycle.best import best
from service.lifecycle.describe import describe
from service.lifecycle.model_card import model_card
from service.lifecycle.write_durably import sync, write_durably
from service.search.best import best_trial
from service.search.space import trial_params
from service.store import artifacts, leases, studies, trials, workers
from service.store.artifacts import KeptModel
from service.store.studies import StudyRow
from service.store.transaction import Store, Transaction

CARD = "README.md"


def write_card(store: Store, folder: Path, study_uuid: str) -> None:
    """Write the card of an ended study that has none; harmless for every other study, and when repeated."""
    with store.reading() as tx:
        study = studies.find_by_uuid(tx, study_uuid)
        if study is None or not study.has_ended or study.has_card:
            return
        model = _winners_model(tx, study)
        text = None if model is None else _inputs(tx, study, model)
    if model is None or text is None:
        _note(store, study_uuid)
        return
    shown, params, worker = text
    content = model_card(shown, best(store, folder, study.name), params, worker).encode()
    final = folder / model.lease_id / CARD
    partial = final.with_name(f".{uuid4().hex}")
    try:
        size_bytes, sha256 = write_durably(partial, [content])
        with store.writing() as tx:
            locked = studies.lock_by_uuid(tx, study_uuid)
            if locked is None or _winners_model(tx, locked) != model:
                return
            artifacts.put(tx, model.lease_id, study_uuid, model.number, CARD, size_bytes, sha256)
            artifacts.show(tx, model.lease_id)
            studies.change(tx, locked, has_card=True)
            partial.replace(final)
            sync(final.parent)
    finally:
        partial.unlink(missing_ok=True)


def _winners_model(tx: Transaction, study: StudyRow) -> KeptModel | None:
    winner = best_trial(trials.all_of(tx, study), study.spec.direction)
    return None if winner is None else artifacts.kept_models(tx, study.uuid).get(winner.number)


def _inputs(tx: Transaction, study: StudyRow, model: KeptModel) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The study as people see it, the winner's params, and the worker that trained it."""
    trial = trials.find(tx, study, model.number)
    assert trial is not None
    attempt = leases.attempts(tx, study.uuid, "trial", model.number)[-1]
    worker = workers.find(tx, attempt.worker_id)
    versions = {} if worker is None else worker.versions
    return describe(tx, study), trial_params(study.spec, trial.params), {"device": attempt.device, "versions": versions}


def _note(store: Store, study_uuid: str) -> None:
    """There is no model to describe."""
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        if study is not None and study.has_ended:
            studies.change(tx, study, has_card=True)
