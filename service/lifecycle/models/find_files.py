"""Which files a kept model has: the best trial's model, one file of any trial's, and what a worker scores."""

from service.errors import LeaseLost, NoModel
from service.files.files import Files
from service.files.stored_file import StoredFile
from service.lifecycle.confirmation.winner import confirmed_leaders
from service.lifecycle.trials.find_trial import find_trial
from service.store import artifacts, leases, studies
from service.store.store import Store
from spezia.contract.model_files import Artifact, ArtifactList


def find_model(store: Store, files: Files, name: str) -> list[StoredFile]:
    """Return the files of the best trial's model, named as in the directory that ``from_pretrained`` opens.

    Raises:
        StudyNotFound: There is no such study.
        NoModel: None is kept, or none yet, or its files are gone, or several objectives leave no single best.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        models = artifacts.kept_models(tx, study.uuid)
        if len(study.spec.objectives) > 1:
            raise NoModel(_how_to_choose(name, sorted(models)))
        found = confirmed_leaders(tx, study)
    if not found or found[0].number not in models:
        raise NoModel(
            f"study {name!r} has no model: that of the best COMPLETE trial is kept, unless training.keep_models is 0"
        )
    model = models[found[0].number]
    return [_existing(files, file, name, model.number) for file in model.files]


def list_artifacts(store: Store, name: str, number: int) -> ArtifactList:
    """List the files of a trial's model by name; none where the model is not kept.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    found = _files_of_trial(store, name, number)
    return ArtifactList(
        artifacts=[Artifact(file=one.name, size_bytes=one.size_bytes, sha256=one.sha256) for one in found]
    )


def find_artifact(store: Store, files: Files, name: str, number: int, file: str) -> StoredFile:
    """Return one file of a trial's kept model, which is there.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
        NoModel: The trial's model is not kept, has no such file, or the file is gone.
    """
    found = _files_of_trial(store, name, number)
    for one in found:
        if one.name == file:
            return _existing(files, one, name, number)
    have = ", ".join(one.name for one in found) or "nothing: training.keep_models says how many models are kept"
    raise NoModel(f"trial {number} of study {name!r} has no file {file!r}; it has {have}")


def find_leased_model_file(store: Store, files: Files, lease_id: str, token: str, file: str) -> StoredFile:
    """Return one file of the model that the holder of a ``score`` lease is to score; it is there.

    Raises:
        LeaseLost: The lease is stale.
        NoModel: The model has no such file, or the file is gone.
    """
    with store.reading() as tx:
        held = tx.ask(leases.find(lease_id, token))
        study = None if held is None else studies.find_by_uuid(tx, held.study_uuid)
        if held is None or study is None:
            raise LeaseLost
        model = artifacts.kept_models(tx, held.study_uuid).get(held.number)
    found = next((one for one in model.files if one.name == file), None) if model else None
    if found is None:
        raise NoModel(f"the model of trial {held.number} has no file {file!r}")
    return _existing(files, found, study.name, held.number)


def _existing(files: Files, file: StoredFile, name: str, number: int) -> StoredFile:
    if not files.has(file):
        raise NoModel(
            f"the model of trial {number} of study {name!r} was kept, but {files.place}/{file.path} is gone; "
            f"restore it from a backup, or train that trial's params again"
        )
    return file


def _files_of_trial(store: Store, name: str, number: int) -> list[StoredFile]:
    with store.reading() as tx:
        study = studies.find(tx, name)
        find_trial(tx, study, number)
        return artifacts.of_trial(tx, study.uuid, number)


def _how_to_choose(name: str, numbers: list[int]) -> str:
    kept = f"of trials {', '.join(map(str, numbers))}" if numbers else "of none yet"
    return (
        f"study {name!r} has several objectives and so no single best model: choose a trial of GET "
        f"/v1/studies/{name}/best and fetch its files from /v1/studies/{name}/trials/{{number}}/artifacts. Models are "
        f"kept {kept} (training.keep_models)"
    )
