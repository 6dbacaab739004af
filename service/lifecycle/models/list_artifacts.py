"""GET /v1/studies/{name}/trials/{number}/artifacts: the files of a trial's model, while it is kept."""

from service.lifecycle.trials.find_study_of_trial import find_study_of_trial
from service.store import artifacts
from service.store.store import Store
from spezia.contract.model_files import Artifact, ArtifactList


def list_artifacts(store: Store, name: str, number: int) -> ArtifactList:
    """The files of the trial's model by name; none where it is not kept.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    with store.reading() as tx:
        rows = artifacts.of_trial(tx, find_study_of_trial(tx, name, number), number)
    return ArtifactList(
        artifacts=[Artifact(file=row.file, size_bytes=row.size_bytes, sha256=row.sha256) for row in rows]
    )
