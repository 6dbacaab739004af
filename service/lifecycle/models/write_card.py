"""Write a model card beside the winner's model when a study has ended: only the service knows all its trials."""

import logging
from functools import partial
from typing import Any

from service.files.files import Files
from service.files.stored_file import ARTIFACTS, StoredFile, lease_folder
from service.lifecycle.confirmation.winner import confirmed_leaders
from service.lifecycle.models.model_card import model_card
from service.lifecycle.one_by_one import one_by_one
from service.lifecycle.studies.describe_best import describe_best
from service.lifecycle.studies.describe_study import describe_study
from service.lifecycle.upload import Upload
from service.search.space.params import trial_params
from service.store import artifacts, attempts, studies, trials, workers
from service.store.artifacts import KeptModel
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.best_trial import ParetoFront

CARD = "README.md"

log = logging.getLogger(__name__)


def write_card(store: Store, files: Files, study_uuid: str) -> None:
    """Write the model card of an ended study that has none; harmless for every other study, and when repeated.

    Of several objectives each model that is kept gets one. A model whose folder is gone gets none.

    Raises:
        OSError: The disk of all models is not there.
        Unavailable: A card cannot be written.
    """
    with store.reading() as tx:
        study = studies.find_by_uuid(tx, study_uuid)
        if study is None or not study.has_ended or study.has_card:
            return
        models = _models(tx, study)
        inputs = {model.number: _inputs(tx, study, model) for model in models}
    there = [model for model in models if _is_there(study, model, files)]
    if not there:
        _note(store, study_uuid)
        return
    answer = describe_best(store, files, study.name)
    described = {one.number: one for one in (answer.pareto if isinstance(answer, ParetoFront) else [answer])}
    for model in there:
        if model.number not in described:
            return  # the study has gone on meanwhile
        shown, params, worker = inputs[model.number]
        content = model_card(shown, described[model.number], params, worker).encode()
        if not _write(store, files, study_uuid, models, model, content, is_last=model == there[-1]):
            return


def write_missing_cards(store: Store, files: Files) -> None:
    """Write the model cards of studies that no worker's result has ended: stopped, cancelled, or their worker lost.

    Raises:
        ExceptionGroup: Some cannot be written, as with `write_card`; all others are.
    """
    with store.reading() as tx:
        missing = studies.without_card(tx)
    one_by_one(missing, partial(write_card, store, files))


def _is_there(study: StudyRow, model: KeptModel, files: Files) -> bool:
    folder = lease_folder(model.lease_id)
    if files.has_folder(folder):
        return True
    if not files.has_folder(ARTIFACTS):
        raise FileNotFoundError(f"{files.place}/{ARTIFACTS} is not there: is its disk?")
    path = f"{files.place}/{folder}"
    log.warning("study %s, trial %d: its model gets no card, because %s is gone", study.name, model.number, path)
    return False


def _write(
    store: Store,
    files: Files,
    study_uuid: str,
    models: list[KeptModel],
    model: KeptModel,
    content: bytes,
    *,
    is_last: bool,
) -> bool:
    """Put a card beside one of ``models``; with the last one the study has its cards. Whether they still are."""
    folder = lease_folder(model.lease_id)
    written = Upload(files.scratch(folder), len(content), "the card itself")
    try:
        written.write(content)
        size_bytes, sha256 = written.end()
        card = StoredFile(folder=folder, name=CARD, size_bytes=size_bytes, sha256=sha256)
        files.send(written.path, card)
        with store.writing() as tx:
            locked = studies.lock_by_uuid(tx, study_uuid)
            # by lease: the cards written so far are files of theirs as well
            if locked is None or _leases_of(_models(tx, locked)) != _leases_of(models):
                return False
            artifacts.put(tx, model.lease_id, study_uuid, model.number, CARD, size_bytes, sha256)
            artifacts.show(tx, model.lease_id)
            studies.change(tx, locked, has_card=is_last)
            files.keep(written.path, card)
    finally:
        written.discard()
    return True


def _models(tx: Transaction, study: StudyRow) -> list[KeptModel]:
    """The winner's, or those of the Pareto front, as far as they are kept."""
    numbers = [trial.number for trial in confirmed_leaders(tx, study)]
    kept = artifacts.kept_models(tx, study.uuid)
    return [kept[number] for number in numbers if number in kept]


def _leases_of(models: list[KeptModel]) -> list[str]:
    return [model.lease_id for model in models]


def _inputs(tx: Transaction, study: StudyRow, model: KeptModel) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The study as people see it, the winner's params, and the worker that trained it."""
    trial = trials.find(tx, study, model.number)
    assert trial is not None
    attempt = attempts.history(tx, study.uuid, "trial", model.number)[-1]
    worker = tx.ask(workers.find(attempt.worker_id))
    versions = {} if worker is None else worker.versions
    return (
        describe_study(tx, study),
        trial_params(study.spec, trial.params),
        {"device": attempt.device, "versions": versions},
    )


def _note(store: Store, study_uuid: str) -> None:
    """There is no model to describe."""
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        if study is not None and study.has_ended:
            studies.change(tx, study, has_card=True)
