"""Where the files of kept models lie: the best trial's model, one file of any trial's, and what a worker scores."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import LeaseLost, NoModel
from service.lifecycle.confirmation.winner import confirmed_leaders
from service.lifecycle.trials.find_trial import find_trial
from service.store import artifacts, leases, studies
from service.store.sql.statements import Row
from service.store.store import Store
from spezia.contract.model_files import Artifact, ArtifactList


def find_model(store: Store, folder: Path, name: str) -> dict[str, Path]:
    """Paths of the files of the best trial's model by their names in the directory that ``from_pretrained`` opens.

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
    return {file: _existing(folder / model.lease_id / file, name, model.number) for file in model.files}


def list_artifacts(store: Store, name: str, number: int) -> ArtifactList:
    """List the files of a trial's model by name; none where the model is not kept.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    rows = _files_of_trial(store, name, number)
    return ArtifactList(
        artifacts=[Artifact(file=row.file, size_bytes=row.size_bytes, sha256=row.sha256) for row in rows]
    )


def find_artifact(store: Store, folder: Path, name: str, number: int, file: str) -> Path:
    """Path of one file of a trial's kept model.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
        NoModel: The trial's model is not kept, has no such file, or the file is gone.
    """
    rows = _files_of_trial(store, name, number)
    for row in rows:
        if row.file == file:
            return _existing(folder / str(row.lease_id) / file, name, number)
    have = ", ".join(row.file for row in rows) or "nothing: training.keep_models says how many models are kept"
    raise NoModel(f"trial {number} of study {name!r} has no file {file!r}; it has {have}")


def find_leased_model_file(store: Store, folder: Path, lease_id: str, token: str, file: str) -> Path:
    """Path of one file of the model that the holder of a ``score`` lease is to score.

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
    if model is None or file not in model.files:
        raise NoModel(f"the model of trial {held.number} has no file {file!r}")
    return _existing(folder / model.lease_id / file, study.name, held.number)


def _existing(path: Path, name: str, number: int) -> Path:
    if not path.is_file():
        raise NoModel(
            f"the model of trial {number} of study {name!r} was kept, but {path} is gone; "
            "restore it from a backup, or train that trial's params again"
        )
    return path


def _files_of_trial(store: Store, name: str, number: int) -> Sequence[Row]:
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
