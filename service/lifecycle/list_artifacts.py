"""GET /v1/studies/{name}/trials/{number}/artifacts: the files of a trial's model, while it is kept."""

from pathlib import Path

from service.contract.trial import Artifact, ArtifactList
from service.errors import NoModel, TrialNotFound
from service.store import artifacts, studies, trials
from service.store.transaction import Store, Transaction


def list_artifacts(store: Store, name: str, number: int) -> ArtifactList:
    """The files of the trial's model by name; none where it is not kept.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    with store.reading() as tx:
        rows = artifacts.of_trial(tx, _study_uuid(tx, name, number), number)
    return ArtifactList(
        artifacts=[Artifact(file=row.file, size_bytes=row.size_bytes, sha256=row.sha256) for row in rows]
    )


def find_artifact(store: Store, folder: Path, name: str, number: int, file: str) -> Path:
    """One of these files.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
        NoModel: Its model is not kept, or has no such file.
    """
    with store.reading() as tx:
        rows = artifacts.of_trial(tx, _study_uuid(tx, name, number), number)
    for row in rows:
        if row.file == file:
            return folder / str(row.lease_id) / file
    have = ", ".join(row.file for row in rows) or "nothing: training.keep_models says how many models are kept"
    raise NoModel(f"trial {number} of study {name!r} has no file {file!r}; it has {have}")


def _study_uuid(tx: Transaction, name: str, number: int) -> str:
    study = studies.find(tx, name)
    if trials.find(tx, study, number) is None:
        raise TrialNotFound(name, number)
    return study.uuid
